import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessLine } from '../../../src/daemon/log/access-line.ts';
import type { ConnectionEnd, Upstream } from '../../../src/engine/engine.ts';

const end: ConnectionEnd = {
  peer: '192.0.2.7:50312',
  via: null,
  upstream: {} as Upstream,
  stage: 'relay',
  error: null,
  reason: 'finished',
  bytesIn: 512,
  bytesOut: 20480,
  startedMs: 0,
  connectMs: 0.41237,
  durationMs: 37,
  tls: null,
  generation: null,
};
const context = { src: 'tcp:8080', dst: 'tcp:app:9001', generation: 2, endedMs: Date.UTC(2026, 0, 31, 12) };

test('a line of text says who, where, how much, how long and why', () => {
  assert.equal(
    accessLine('text', end, context),
    '2026-01-31T12:00:00.000Z 192.0.2.7:50312 tcp:8080 -> tcp:app:9001 finished in=512 out=20480 connect=0.412ms duration=37ms generation=2\n',
  );
});

test('what a stranger sends does not begin a new line', () => {
  const tls = { version: 'TLSv1.3', name: 'a\nb\u001b[2J' };
  const text = accessLine('text', { ...end, tls, via: '198.51.100.1:9', generation: 1 }, context);
  assert.match(text, /via=198\.51\.100\.1:9 tls=TLSv1\.3 name=a\\u\{a\}b\\u\{1b\}\[2J generation=1>2\n$/);
  const json = accessLine('json', { ...end, tls }, context);
  assert.equal(json.indexOf('\n'), json.length - 1);
  assert.equal(JSON.parse(json).serverName, tls.name);
});

test('a line of JSON has numbers for programs, and null for what was not', () => {
  const line = JSON.parse(
    accessLine('json', { ...end, connectMs: null, reason: 'dial-refused', error: new Error('refused') }, context),
  );
  assert.deepEqual(line, {
    time: '2026-01-31T12:00:00.000Z',
    client: '192.0.2.7:50312',
    src: 'tcp:8080',
    dst: 'tcp:app:9001',
    bytesIn: 512,
    bytesOut: 20480,
    connectMs: null,
    durationMs: 37,
    reason: 'dial-refused',
    error: 'refused',
    acceptedBy: 2,
    endedBy: 2,
  });
});

test('times are as toISOString has them, whatever came before', () => {
  const times = [0.4, 999.9, 1000, 1_764_135_773_009, 1_764_135_773_080.5, 1_764_135_772_999];
  for (const endedMs of [...times, Date.UTC(2026, 11, 31, 23, 59, 59, 999)])
    assert.equal(JSON.parse(accessLine('json', end, { ...context, endedMs })).time, new Date(endedMs).toISOString());
});
