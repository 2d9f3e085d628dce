import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEndpointCases } from '../endpoint/endpoint-cases.ts';
import { runtime, startProgram } from './grace.ts';
import { pemFiles } from './pem-files.ts';

test('the endpoint command reads strings as it should', { timeout: 180_000 }, async (t) => {
  const files = pemFiles(t);
  const names: Record<string, string> = {
    $KEY: files.key,
    $CERT: files.cert,
    $BOTH: files.both,
    $OTHERKEY: files.otherKey,
    $OTHERCERT: files.otherCert,
    $CHAIN: files.chain,
    $DH: files.dh,
    $JUNK: files.junk,
    $MISSING: files.missing,
    $CADIR: files.caDir,
    $PEMDIR: files.pemDir,
    $EMPTYDIR: files.emptyDir,
  };
  const fill = (text: string) => text.replace(/\$[A-Z]+/g, (name) => names[name] ?? name);
  // A start takes long, and that every string is read as it should be is tested without one.
  const step = runtime === 'executable' ? 7 : 20;
  const cases = readEndpointCases().filter((each, index) => each.stage !== 'inherited' && index % step === 0);

  let agreed = 0;
  const check = async (each: (typeof cases)[number]): Promise<void> => {
    const wanted = JSON.parse(fill(JSON.stringify(each.better ?? each.expect)));
    const { code, stdout, stderr } = await startProgram(
      ['endpoint', each.kind, fill(each.description), '--json'],
      {},
      { cwd: files.emptyDir },
    ).ended;
    const got = JSON.parse(stdout);
    const what = `${each.kind} ${each.description}: ${stdout}${stderr}`;
    if ('error' in wanted || each.description === 'fd:3') {
      assert.equal(code, 2, what);
      assert.equal(typeof got.error, 'string', what);
      assert.match(stderr, /^grace: /, what);
    } else {
      assert.equal(code, 0, what);
      assert.deepEqual(got, wanted, what);
    }
    agreed++;
  };
  const queue = [...cases];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await check(next);
  };
  await Promise.all([worker(), worker(), worker()]);
  t.diagnostic(`${agreed} of ${cases.length} strings agree`);
  assert.equal(agreed, cases.length);
});
