import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHandshakes, parseIperf3, parseWrk } from '../../scripts/bench/load-tools.ts';
import { parseVersion } from '../../scripts/bench/machine.ts';

const wrkText = (errors: string) => `Running 1s test @ http://127.0.0.1:1/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   820.13us    1.02ms  23.41ms   96.13%
    Req/Sec    65.02k     3.46k   72.02k    72.73%
  Latency Distribution
     50%  534.00us
     75%    0.92ms
     90%    1.36ms
     99%    4.42ms
  71078 requests in 1.10s, 11.93MB read
${errors}Requests/sec:  64623.30
Transfer/sec:     10.85MB
`;

test('figures of wrk are read with their units', () => {
  assert.deepEqual(parseWrk(wrkText('')), {
    requests: 71078,
    perSecond: 64623.3,
    p50Us: 534,
    p99Us: 4420,
    bytes: 11.93 * 2 ** 20,
  });
});

test('wrk may see few errors, but not many', () => {
  assert.equal(parseWrk(wrkText('  Socket errors: connect 0, read 700, write 0, timeout 3\n')).requests, 71078);
  assert.throws(
    () => parseWrk(wrkText('  Socket errors: connect 0, read 700, write 20, timeout 3\n')),
    /723 socket errors/,
  );
  assert.throws(() => parseWrk(wrkText('  Non-2xx or 3xx responses: 71078\n')), /71078 answers that were errors/);
  assert.throws(() => parseWrk('  0 requests in 1.04s, 0.00B read\nRequests/sec: 0.00\n'), /wrk had 0 answers/);
});

test('iperf3 tells what arrived and in which time', () => {
  const { bytes, seconds } = parseIperf3('{"end":{"sum_sent":{"bytes":9},"sum_received":{"bytes":8,"seconds":1.5}}}');
  assert.deepEqual([bytes, seconds], [8, 1.5]);
});

test('iperf3 that was not let in is told from one that was cut off', () => {
  const refused = parseIperf3('{"start":{"connected":[]},"end":{},"error":"the server is busy"}');
  assert.deepEqual([refused.bytes, refused.hasBegun, refused.error], [0, false, 'the server is busy']);
  assert.ok(
    parseIperf3('{"start":{"connected":[{"socket":5}]},"end":{},"error":"control socket has closed"}').hasBegun,
  );
});

test('handshakes count when they led to an answer', () => {
  const text =
    '*****\n\n939 connections in 0.48s; 1956.25 connections/user sec, bytes read 136155\n939 connections in 2 real seconds, 145 bytes read per connection\n';
  assert.equal(parseHandshakes(text, { resumes: false }), 939);
  assert.throws(() => parseHandshakes(text.replace('145 bytes', '0 bytes'), { resumes: false }), /no handshake/);
  assert.throws(() => parseHandshakes('ERROR', { resumes: false }), /no handshake/);
});

test('handshakes count when they resumed a session, or did not, as was asked', () => {
  const ending = '\n\n400 connections in 2 real seconds, 145 bytes read per connection\n';
  const mixed = `${'r'.repeat(300)}${'*'.repeat(100)}${ending}`;
  assert.equal(parseHandshakes(`*${'r'.repeat(400)}${ending}`, { resumes: true }), 400);
  assert.throws(() => parseHandshakes(mixed, { resumes: true }), /100 of 400 handshakes resumed no session/);
  assert.throws(() => parseHandshakes(mixed, { resumes: false }), /300 of 400 handshakes resumed a session/);
});

test('a version is the first thing with dots, or a number', () => {
  assert.equal(parseVersion('HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/'), '2.6.12-1+deb12u4');
  assert.equal(parseVersion('nginx version: nginx/1.22.1'), '1.22.1');
  assert.equal(parseVersion('systemd 252 (252.38-1~deb12u1)'), '252.38-1~deb12u1');
  assert.equal(parseVersion('nothing'), 'unknown');
});
