/**
 * Holds connections open, in a process of its own: `client.ts PORT HOST COUNT [SOURCE…]`. Each sends a byte and waits for
 * it to come back. Prints how many there are when all are made, and, when its input ends, how many of them answer still.
 */
import { once } from 'node:events';
import net from 'node:net';

/** At most so many are being made at a time. */
const batchSize = 100;

/** A peer that has run out of something lets its clients wait for ever. */
const answerTimeoutMs = 20_000;

const [port = '', host = '', count = '', ...sources] = process.argv.slice(2);
const sockets: net.Socket[] = [];

/** A byte goes there and comes back. */
async function echo(socket: net.Socket): Promise<void> {
  const signal = AbortSignal.timeout(answerTimeoutMs);
  const echoed = once(socket, 'data', { signal });
  socket.write('x');
  await echoed;
}

async function open(index: number): Promise<void> {
  const localAddress = sources[index % sources.length];
  const socket = net.connect({ port: Number(port), host, ...(localAddress && { localAddress }) });
  socket.on('error', () => {}); // the wait below ends with it
  await once(socket, 'connect', { signal: AbortSignal.timeout(answerTimeoutMs) });
  await echo(socket);
  sockets.push(socket);
}

for (let at = 0; at < Number(count); at += batchSize) {
  const size = Math.min(batchSize, Number(count) - at);
  await Promise.all(Array.from({ length: size }, (_, index) => open(at + index)));
}
console.log(`${sockets.length}`);
await once(process.stdin.resume(), 'end');
let alive = 0;
for (let at = 0; at < sockets.length; at += batchSize)
  for (const { status } of await Promise.allSettled(sockets.slice(at, at + batchSize).map(echo)))
    alive += status === 'fulfilled' ? 1 : 0;
console.log(`${alive}`);
process.exit();
