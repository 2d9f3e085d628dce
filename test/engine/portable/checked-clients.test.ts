/** Whose TLS sessions are good where certificates are asked for. */
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CheckedClients } from '../../../src/engine/portable/checked-clients.ts';
import { openPortableEngine } from '../../../src/engine/portable/engine.ts';
import { makeCertificate } from '../../endpoint/pem.ts';
import { talkByOpenssl } from '../../openssl-client.ts';
import { openEcho } from '../peers.ts';
import type { Address } from '../peers.ts';
import { Rig, to } from '../rig.ts';
import { pemFiles, sslFrom } from '../tls-peers.ts';

const timeout = 60_000;
const pem = pemFiles();

type Heard = { isServed: boolean; isResumed: boolean };

/** Say something over TLS, and hear whether it comes back. */
async function talk(address: Address, args: readonly string[]): Promise<Heard> {
  const { port } = address as { port: number };
  const answer = /it is me/;
  const heard = await talkByOpenssl(port, { say: 'it is me\n', awaited: answer, args: ['-servername', 'a', ...args] });
  return { isServed: answer.test(heard), isResumed: /^Reused, /m.test(heard) };
}

/** A pair that an authority of the test has signed, as arguments for openssl. */
function member(name: string, issuer: string): string[] {
  const { dir } = pem();
  makeCertificate(dir, { name, subject: name, extensions: ['basicConstraints=critical,CA:FALSE'], issuer });
  return ['-key', join(dir, `${name}.key`), '-cert', join(dir, `${name}.crt`)];
}

for (const version of ['-tls1_2', '-tls1_3'])
  test(
    `a session is taken where its certificate was checked by the same authorities, and nowhere else (${version})`,
    { timeout },
    async () => {
      await using rig = new Rig(openPortableEngine);
      await using echo = await openEcho();
      const ca = join(rig.dir, 'ca');
      copyFileSync(pem().root, ca);
      const authority = { name: 'second', subject: 'Second Root', extensions: ['basicConstraints=critical,CA:TRUE'] };
      makeCertificate(pem().dir, authority);
      const second = join(pem().dir, 'second.crt');
      const ours = member('ours', 'root');
      const theirs = member('theirs', 'second');
      const open = async (extras: object) => await rig.forward({ to: to(echo), from: sslFrom(pem(), extras) });
      const [anybody, others, asking] = [
        await open({}),
        await open({ clientCA: second }),
        await open({ clientCA: ca }),
      ];
      const file = (name: string) => join(rig.dir, name);
      const begin = async (address: Address, name: string, identity: string[] = []) =>
        await talk(address, [version, ...identity, '-sess_out', file(name)]);
      const goOn = async (name: string, identity: string[] = []) =>
        await talk(asking.address, [version, ...identity, '-sess_in', file(name)]);

      assert.equal((await begin(anybody.address, 'nobody')).isServed, true);
      assert.equal((await begin(others.address, 'stranger', theirs)).isServed, true);
      assert.equal((await goOn('nobody')).isServed, false);
      assert.equal((await goOn('stranger', theirs)).isServed, false);

      assert.deepEqual(await begin(asking.address, 'member', ours), { isServed: true, isResumed: false });
      assert.deepEqual(await goOn('member', ours), { isServed: true, isResumed: true });
      asking.frontend.reload();
      assert.deepEqual(await goOn('member', ours), { isServed: true, isResumed: true });

      copyFileSync(second, ca);
      asking.frontend.reload();
      assert.equal((await goOn('member', ours)).isServed, false);
      assert.deepEqual(await begin(asking.address, 'stranger', theirs), { isServed: true, isResumed: false });
      assert.deepEqual(await goOn('stranger', theirs), { isServed: true, isResumed: true });
    },
  );

test('of more certificates than can be remembered the one that was used longest ago is forgotten', () => {
  const clients = new CheckedClients('', 2);
  const client = (fingerprint256: string, isReused: boolean) =>
    clients.admit({
      isSessionReused: () => isReused,
      getPeerCertificate: (() => ({ fingerprint256 })) as never,
    });
  for (const name of ['a', 'b']) assert.equal(client(name, false), true);
  assert.equal(client('a', true), true);
  assert.equal(client('c', false), true);
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => client(name, true)),
    [true, false, true],
  );
});
