/**
 * Clients that notice a standstill: `pinger.ts PORT HOST`. One keeps its connection and sends a byte a millisecond, one makes a
 * connection for each byte. For each line on its input it prints the longest waits since the last one, in milliseconds, and how many bytes have come back or not, as JSON.
 */
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

const [port = '', host = ''] = process.argv.slice(2);
const where = { port: Number(port), host, noDelay: true };
let longest = { kept: 0, newcomer: 0, asked: 0, failed: 0 };

/** What a byte takes there and back. */
async function ask(socket: net.Socket, who: 'kept' | 'newcomer', sinceMs: number): Promise<void> {
  const answered = once(socket, 'data');
  socket.write('x');
  await answered;
  longest[who] = Math.max(longest[who], performance.now() - sinceMs);
  longest.asked++;
}

async function keep(): Promise<never> {
  const socket = net.connect(where);
  await once(socket, 'connect');
  for (;;) {
    await ask(socket, 'kept', performance.now());
    await delay(1);
  }
}

async function comeAndGo(): Promise<never> {
  for (;;) {
    const sinceMs = performance.now();
    const socket = net.connect(where);
    try {
      await once(socket, 'connect');
      await ask(socket, 'newcomer', sinceMs);
    } catch {
      longest.failed++;
    }
    socket.destroy();
    await delay(2);
  }
}

async function untilItFails(work: () => Promise<never>): Promise<never> {
  for (;;) await work().catch(() => longest.failed++);
}

void untilItFails(keep);
void untilItFails(comeAndGo);
for await (const _ of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(longest));
  longest = { ...longest, kept: 0, newcomer: 0 };
}
process.exit();
