/** Ports for the programs that a benchmark runs. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const lowest = 10_000;

/**
 * A port that nobody listens on, below those that the kernel gives to outgoing connections: with
 * thousands of these underway any other may be taken before the program gets to listen on it.
 */
export async function freePort(): Promise<number> {
  const firstEphemeral = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0]);
  for (;;) {
    const port = lowest + Math.floor(Math.random() * Math.max(1000, firstEphemeral - lowest));
    const server = net.createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
      return port;
    } catch {
      // taken; try another one
    } finally {
      server.close();
    }
  }
}

/** Wait until a program accepts on its port. Rejects when it ends, takes too long, or the wait is interrupted. */
export async function answers(
  port: number,
  {
    ended,
    signal,
    host = '127.0.0.1',
    timeoutMs = 10_000,
  }: { ended: Promise<void>; signal: AbortSignal; host?: string; timeoutMs?: number },
): Promise<void> {
  const hopeless = new AbortController();
  void ended.then(() => hopeless.abort(new Error('it ended')));
  const limit = AbortSignal.any([signal, hopeless.signal]);
  for (const endAt = performance.now() + timeoutMs; performance.now() < endAt;) {
    const socket = net.connect(port, host);
    try {
      await once(socket, 'connect', { signal: limit });
      return;
    } catch {
      await delay(25, undefined, { signal: limit }).catch(() => {}); // the next line says why
      limit.throwIfAborted();
    } finally {
      socket.destroy();
    }
  }
  throw new Error(`nothing answers on port ${port}`);
}
