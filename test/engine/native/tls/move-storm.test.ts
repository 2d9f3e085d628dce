/**
 * Clients that make each record themselves are moved to and fro in the middle of their records, while they change their keys.
 * GRACE_FUZZ_RUNS=10 makes it 300 connections, each moved 50 times.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import { HANDSHAKE } from '../../../../src/engine/native/tls/records.ts';
import { seededRandom } from '../../../random.ts';
import { openNativeTls } from '../../native-engine.ts';
import { openEcho } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { openTlsBackend, OWN_SUITES, pemFiles, read, sslFrom, sslTo } from '../../tls-peers.ts';
import { Passage } from './passage.ts';
import { RawClient } from './raw-client.ts';

const factor = Number(process.env['GRACE_FUZZ_RUNS'] || 1);
const options = { timeout: 120_000 * factor, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const moves = factor > 1 ? 50 : 20;
/** A client, what it has said and has not sent yet, and what is to come back. */
type Talk = { client: RawClient; isTls13: boolean; wire: Buffer; said: Buffer[]; asked: boolean };

for (const isBoth of [false, true])
  test(
    `${isBoth ? 'with TLS on both sides' : 'with TLS of clients'}, no move breaks a record or a change of keys, of whichever suite`,
    options,
    async (t) => {
      const random = seededRandom(isBoth ? 7 : 11);
      await using here = new Rig(openNativeTls);
      await using there = new Rig(openNativeTls);
      using passage = new Passage();
      await using echo = await openEcho();
      await using secure = await openTlsBackend({ key: read(pem().key), cert: read(pem().fullChain) });
      void (async () => {
        for (;;) {
          const peer = await secure.next();
          peer.pipe(peer);
        }
      })();
      const { address, upstream } = await here.forward({
        to: isBoth ? sslTo(secure.port, pem()) : to(echo),
        from: sslFrom(pem()),
      });
      const places = [
        [here.engine as NativeEngine, upstream] as const,
        [there.engine as NativeEngine, there.upstream(upstream.endpoint)] as const,
      ];
      const talks: Talk[] = [];
      for (let index = 0; index < OWN_SUITES.length * (factor > 1 ? 5 * factor : 1); index++) {
        const ciphers = OWN_SUITES[index % OWN_SUITES.length]!;
        const isTls13 = ciphers.startsWith('TLS_');
        const client = await RawClient.connect(address, { ciphers, maxVersion: isTls13 ? 'TLSv1.3' : 'TLSv1.2' });
        talks.push({ client, isTls13, wire: Buffer.alloc(0), said: [], asked: false });
        // The destination is there: it can be moved.
        const hello = Buffer.from('hello');
        client.carrier.write(client.data(hello));
        talks[index]!.said.push(hello);
        await client.until(({ plain }) => plain.length === hello.length);
      }
      let [cutOff, asked] = [0, 0];
      for (let round = 0; round < moves; round++) {
        for (const talk of talks) {
          const { client } = talk;
          const records = [talk.wire];
          for (let count = random.below(4); count > 0; count--) {
            const bytes = Buffer.alloc(random.pick([1, 20, random.below(3000), 16_384]), random.below(256));
            talk.said.push(bytes);
            records.push(client.data(bytes));
            if (!talk.isTls13 || !random.chance(0.4)) continue;
            const isAnswerAsked = random.chance(0.5);
            if (isAnswerAsked) asked++;
            talk.asked ||= isAnswerAsked;
            records.push(client.keyUpdate({ isAnswerAsked }));
          }
          const wire = Buffer.concat(records);
          const size = random.below(wire.length + 1);
          if (size < wire.length) cutOff++;
          // In pieces of a few bytes at its end.
          const pieces = [wire.subarray(0, Math.max(0, size - 9)), wire.subarray(Math.max(0, size - 9), size)];
          for (const piece of pieces) if (piece.length > 0) client.carrier.write(piece);
          talk.wire = Buffer.from(wire.subarray(size));
        }
        const [from, next] = round % 2 === 0 ? [places[0]!, places[1]!] : [places[1]!, places[0]!];
        // All of them: so each has been moved as often as there are rounds.
        assert.equal(await passage.move(from, next), talks.length, `round ${round}`);
      }
      for (const [index, { client, wire, said, asked: isAsked }] of talks.entries()) {
        client.carrier.write(wire);
        const all = Buffer.concat(said);
        await client.until(({ plain }) => plain.length >= all.length);
        assert.ok(client.plain.equals(all), `suite ${index % OWN_SUITES.length}`);
        client.carrier.write(client.alert(1, 0));
        assert.equal(await client.ended(), 'end');
        assert.equal(
          client.received.some(({ type }) => type === HANDSHAKE),
          isAsked,
        );
        client[Symbol.dispose]();
      }
      await Promise.all(places.map(([, each]) => each.drained()));
      t.diagnostic(
        `${talks.length} connections moved ${moves} times each, ${cutOff} times with what was not sent yet; ${asked} key updates were asked for`,
      );
    },
  );
