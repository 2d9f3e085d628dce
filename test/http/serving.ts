import { once } from 'node:events';
import net from 'node:net';
import type { Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { serve } from '../../src/http/index.ts';
import type { ServeOptions } from '../../src/http/index.ts';
import { Net } from '../../src/net/net.ts';

/** A server under serve(), which `stop` stops as a signal would; `ended` is serve's promise. */
export async function start(
  server: Server,
  serveOptions: ServeOptions = {},
): Promise<{ port: number; stop: () => void; ended: Promise<void> }> {
  const controller = new AbortController();
  const listening = Promise.withResolvers<number>();
  const ended = serve(server, {
    address: '127.0.0.1:0',
    net: new Net({ env: {} }),
    signal: controller.signal,
    onListening: ({ listeners }) => {
      const address = listeners[0]?.address;
      listening.resolve(address !== undefined && address.family !== 'unix' ? address.port : 0);
    },
    ...serveOptions,
  });
  ended.catch(listening.reject);
  return { port: await listening.promise, stop: () => controller.abort(), ended };
}

/** A client of that port of this machine, which reads text. */
export async function connect(port: number): Promise<Socket> {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket.setEncoding('utf8');
}

/** Text from the socket up to and including a pattern; what comes with it after that is lost. */
export async function read(socket: Duplex, pattern: RegExp): Promise<string> {
  let text = '';
  while (!pattern.test(text)) text += String((await once(socket, 'data'))[0]);
  return text;
}

/** A request, as bytes. */
export const ask = 'GET / HTTP/1.1\r\nHost: test\r\n\r\n';
