import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { openTempDir } from './run-cli.ts';

export type FakeDaemon = AsyncDisposable & {
  /** State dir whose control socket it answers. */
  dir: string;
  /** The requests so far. */
  requests: Record<string, unknown>[];
};

/** What a test's daemon says to a request: messages in order, or whatever it does with the socket. */
export type Answer = (request: Record<string, unknown>, socket: Socket) => readonly object[] | void;

/** Speaks the control protocol on a state dir of its own, and knows nothing of forwarding. */
export async function openFakeDaemon(answer: Answer): Promise<FakeDaemon> {
  const { path: dir, [Symbol.dispose]: removeDir } = openTempDir();
  const requests: Record<string, unknown>[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => {}); // a client that gave up
    createInterface({ input: socket }).once('line', (line) => {
      const request: Record<string, unknown> = JSON.parse(line);
      requests.push(request);
      for (const message of answer(request, socket) ?? []) socket.write(`${JSON.stringify(message)}\n`);
    });
  });
  server.listen({ path: `${dir}/grace.sock` });
  await once(server, 'listening');
  return {
    dir,
    requests,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
      removeDir();
    },
  };
}
