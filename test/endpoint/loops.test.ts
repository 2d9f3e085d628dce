import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { mustNotLoop } from '../../src/endpoint/loops.ts';
import type { Hop, Resolve } from '../../src/endpoint/loops.ts';
import { readRule } from '../../src/daemon/rules/specs.ts';
import type { ListenerAddress } from '../../src/net/listener.ts';

function hop(src: string, dst: string, address: ListenerAddress): Hop {
  return { ...readRule({ src: { typed: src, absolute: src }, dst: { typed: dst, absolute: dst } }), address };
}

const everywhere = (port: number): ListenerAddress => ({ family: 'inet', host: '0.0.0.0', port });
const here = (port: number): ListenerAddress => ({ family: 'inet', host: '127.0.0.1', port });
const known: Record<string, string[]> = { localhost: ['::1', '127.0.0.1'], 'elsewhere.test': ['192.0.2.1'] };
const resolve: Resolve = async (endpoint) => {
  if (endpoint.type === 'srv') return [{ host: '127.0.0.1', port: 9000 }];
  const { host, port } = endpoint;
  return (isIP(host) === 0 ? (known[host] ?? []) : [host]).map((address) => ({ host: address, port }));
};

for (const dst of [
  'tcp:127.0.0.1:9000',
  'tcp:127.0.0.9:9000',
  'tcp:localhost:9000',
  'tcp:0.0.0.0:9000',
  'tcp:[\\:\\:ffff\\:127.0.0.1]:9000',
  'ssl:localhost:9000',
  'tls:localhost:9000',
  'srv:_web._tcp.a.test',
  'tls:a.test:443:endpoint=srv\\:_web._tcp.a.test',
]) {
  test(`a rule on every address cannot lead to itself as ${dst}`, async () => {
    const rule = hop('tcp:9000', dst.replace('[', '').replace(']', ''), everywhere(9000));
    await assert.rejects(
      mustNotLoop(rule, [], resolve),
      /tcp:9000 cannot lead to .*: it is where this rule itself listens/,
    );
  });
}

test('a rule may lead to the same port of another address or machine, and to another port', async () => {
  await mustNotLoop(hop('tcp:9000:interface=127.0.0.1', 'tcp:127.0.0.2:9000', here(9000)), [], resolve);
  await mustNotLoop(hop('tcp:9000', 'tcp:elsewhere.test:9000', everywhere(9000)), [], resolve);
  await mustNotLoop(hop('tcp:9000', 'tcp:unknown.test:9000', everywhere(9000)), [], resolve);
  await mustNotLoop(hop('tcp:9000', 'tcp:localhost:9001', everywhere(9000)), [], resolve);
  await mustNotLoop(hop('tcp:9000:interface=127.0.0.1', 'tcp:\\:\\:1:9000', here(9000)), [], resolve);
});

test('rules may not lead in a circle over others, and may lead to one another', async () => {
  const rules = [
    hop('tcp:9001', 'tcp:localhost:9002', everywhere(9001)),
    hop('tcp:9002', 'tcp:localhost:9000', everywhere(9002)),
  ];
  await assert.rejects(
    mustNotLoop(hop('tcp:9000', 'tcp:localhost:9001', everywhere(9000)), rules, resolve),
    /over tcp:9001 and tcp:9002/,
  );
  await mustNotLoop(hop('tcp:9003', 'tcp:localhost:9001', everywhere(9003)), rules, resolve);
  await mustNotLoop(hop('tcp:9002', 'tcp:localhost:80', everywhere(9002)), rules, resolve);
});

test('a circle among other rules is not followed for ever', async () => {
  const rules = [
    hop('tcp:9001', 'tcp:localhost:9002', everywhere(9001)),
    hop('tcp:9002', 'tcp:localhost:9001', everywhere(9002)),
  ];
  await mustNotLoop(hop('tcp:9000', 'tcp:localhost:9001', everywhere(9000)), rules, resolve);
});

test('the path of a Unix socket is the same one behind a link', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'grace-loops-'));
  t.after(() => rmSync(dir, { recursive: true }));
  symlinkSync('.', join(dir, 'link'));
  const rule = hop(`unix:${dir}/a`, `unix:${dir}/link/a`, { family: 'unix', path: `${dir}/a` });
  await mustNotLoop(rule, [], resolve); // there is nothing yet
  await assert.rejects(
    mustNotLoop({ ...rule, address: { family: 'unix', path: `${dir}/link/a` } }, [], resolve),
    /itself/,
  );
});
