/**
 * One quiet client beside the load: a small HTTP request a millisecond for some seconds. Prints the
 * median and the 99th percentile of the times to the answer, in microseconds, as JSON.
 */
import net from 'node:net';

/** Answers that only warm this process up. */
const unmeasured = 20;

const [port, seconds] = process.argv.slice(2).map(Number);
const socket = net.connect({ port: port!, host: '127.0.0.1', noDelay: true });
const request = 'GET / HTTP/1.1\r\nHost: bench\r\n\r\n';
const timesUs: number[] = [];
const endAt = performance.now() + 1000 * seconds!;
let sentAt = 0;
let received = '';
const ask = () => {
  received = '';
  sentAt = performance.now();
  socket.write(request);
};
socket.setEncoding('latin1').on('connect', ask);
socket.on('data', (data: string) => {
  received += data;
  if (!received.endsWith('\n')) return;
  timesUs.push((performance.now() - sentAt) * 1000);
  if (performance.now() < endAt) return void setTimeout(ask, 1);
  const sorted = timesUs.slice(unmeasured).sort((a, b) => a - b);
  if (sorted.length === 0) fail(`only ${timesUs.length} answers in ${seconds} s`);
  console.log(
    JSON.stringify({ p50: sorted[Math.floor(sorted.length * 0.5)], p99: sorted[Math.floor(sorted.length * 0.99)] }),
  );
  process.exit();
});
socket.on('end', () => fail('the connection was closed'));
socket.on('error', ({ message }) => fail(message));

function fail(reason: string): never {
  console.error(`the quiet client: ${reason}`);
  process.exit(1);
}
