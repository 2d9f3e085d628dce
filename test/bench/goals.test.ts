import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge, printVerdicts } from '../../scripts/bench/goals.ts';
import type { Row } from '../../scripts/bench/summary.ts';

const row = (peer: string, figure: string, ratio: number | null, median = 1): Row => ({
  peer,
  figures: { [figure]: { median, ratio } },
  failures: 0,
});
const requests = (ratios: Record<string, number>) => ({
  requests: Object.entries(ratios).map(([peer, ratio]) => row(peer, 'CPU µs/request', ratio)),
});

test('CPU is judged by the better of HAProxy and nginx', () => {
  const [better] = judge(requests({ HAProxy: 1, 'grace native': 0.98, 'nginx stream': 0.96 }));
  assert.deepEqual([better?.limit, better?.limitName, better?.isMet], [0.96, 'nginx stream', false]);
  const [worse] = judge(requests({ HAProxy: 1, 'grace native': 0.98, 'nginx stream': 1.2 }));
  assert.deepEqual([worse?.limit, worse?.limitName, worse?.isMet], [1, 'HAProxy', true]);
  const [without] = judge(requests({ HAProxy: 1, 'grace native': 0.98 }));
  assert.equal(without?.limit, 1);
});

test('throughput is to be at least its limit, and CPU of bulk at most that of systemd-socket-proxyd', () => {
  const bulk = (name: string, cpu: number, rate: number): Row => ({
    peer: name,
    figures: { 'CPU s/GB': { median: 1, ratio: cpu }, 'Gbit/s': { median: 1, ratio: rate } },
    failures: 0,
  });
  const verdicts = judge({
    bulk: [bulk('HAProxy', 1, 1), bulk('grace native', 0.6, 1.14), bulk('systemd-socket-proxyd', 0.65, 1.1)],
  });
  assert.deepEqual(
    verdicts.map(({ goal, isMet, missing }) => [goal, isMet, missing.toFixed(2)]),
    [
      ['CPU per GB, 1 stream', true, '-0.08'],
      ['throughput, 1 stream', false, '0.05'],
    ],
  );
});

test('a goal whose limit or value was not measured has no verdict', () => {
  assert.deepEqual(judge({}), []);
  assert.deepEqual(judge({ bulk: [row('grace native', 'CPU s/GB', 0.6)] }), []);
  assert.deepEqual(judge(requests({ HAProxy: 1, 'grace portable': 1.5 })), []);
});

test('each build of the native engine is judged, beside the noise', () => {
  const verdicts = judge(
    requests({ HAProxy: 1, 'HAProxy again': 1.02, 'grace native old': 1.1, 'grace native new': 0.9 }),
  );
  assert.deepEqual(
    verdicts.map(({ peer, isMet, noise }) => [peer, isMet, noise]),
    [
      ['grace native old', false, 1.02],
      ['grace native new', true, 1.02],
    ],
  );
  assert.match(
    printVerdicts('Goals', verdicts),
    /grace native old +1\.10 +1\.00 +HAProxy +1\.02 +missed by 10 %\n.*grace native new.*met, 10 % to spare$/,
  );
});

test('memory of an idle connection has a target in kB beside', () => {
  const verdicts = judge({
    memory: [row('HAProxy', 'kB/connection', 1, 3.3), row('grace native', 'kB/connection', 0.5, 1.65)],
  });
  assert.deepEqual(
    verdicts.map(({ isMet, missing }) => [isMet, missing.toFixed(2)]),
    [
      [true, '-0.50'],
      [false, '0.10'],
    ],
  );
});

test('TLS is judged by the best of those that terminate it, and in part of what they cost', () => {
  const peers = (figure: string, ratios: Record<string, number>) =>
    Object.entries(ratios).map(([peer, ratio]) => row(peer, figure, ratio));
  const ratios = { HAProxy: 1, 'grace native': 0.9, 'nginx stream': 0.95, hitch: 0.85 };
  const verdicts = judge({
    handshakes: peers('CPU µs/handshake', ratios),
    'tls-requests': peers('CPU µs/request', { ...ratios, hitch: 1.2 }),
    'tls-memory': [row('HAProxy', 'kB/connection', 1, 17), row('grace native', 'kB/connection', 0.11, 1.9)],
  });
  assert.deepEqual(
    verdicts.map(({ goal, limit, limitName, isMet }) => [goal, limit.toFixed(4), limitName, isMet]),
    [
      ['CPU per full handshake', '0.8500', 'hitch', false],
      ['CPU per request over TLS', '0.9025', 'nginx stream × 0.95', true],
      ['memory per idle TLS connection', '1.0000', 'HAProxy × 1', true],
      ['memory per idle TLS connection, in kB', '2.0000', 'target', true],
    ],
  );
});
