/** Which files of rules are taken anew, and when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { Certificates } from '../../../src/daemon/rules/certificates.ts';
import { readSource, readTarget } from '../../../src/daemon/rules/specs.ts';
import { makePemFiles } from '../../endpoint/pem.ts';

const text = (typed: string) => ({ typed, absolute: typed });

test(
  'files that have changed since the process began are read once more, for they may have been read before that',
  { timeout: 60_000 },
  async (t) => {
    const pem = makePemFiles();
    t.after(() => pem.remove());
    const taken: string[] = [];
    const ruleOf = (port: number) => {
      const src = readSource(text(`ssl:${port}:privateKey=${pem.both}`));
      const spec = readTarget(text(`ssl:127.0.0.1:${port}:caCertsDir=${pem.caDir}`));
      const upstream = { reload: () => void taken.push(`destination of ${port}`) };
      return { src, dst: spec, known: [{ spec, upstream }], reload: () => (taken.push(`source of ${port}`), []) };
    };
    const [restored, started] = [ruleOf(1), ruleOf(2)];
    const rules = [restored];
    const certificates = new Certificates({ log: pino({ enabled: false }), specs: () => rules });
    t.after(() => certificates.close());
    certificates.lookAtAll();
    // One that was opened a moment ago has been read a moment ago.
    rules.push(started);
    certificates.look(started);
    let looks = 0;
    const { promise: haveLooked, resolve } = Promise.withResolvers<void>();
    certificates.watch(() => {
      if (++looks === 3) resolve();
      return rules;
    });
    const keepAlive = setInterval(() => {}, 1000); // who looks does not keep the process
    await haveLooked;
    clearInterval(keepAlive);
    assert.deepEqual(taken, ['source of 1', 'destination of 1']);
  },
);
