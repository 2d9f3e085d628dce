import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { TestContext } from 'node:test';

export type Backend = {
  /** As a client endpoint. */
  endpoint: string;
  port: number;
  connections: Set<Socket>;
  server: Server;
};

/** A server that greets with its name and a newline, then echoes; it ends when the client ends. */
export async function startBackend(t: TestContext, name: string, { path }: { path?: string } = {}): Promise<Backend> {
  const connections = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
    socket.on('error', () => {}); // a test may reset it
    socket.write(`${name}\n`);
    socket.pipe(socket);
  });
  if (path === undefined) server.listen(0, '127.0.0.1');
  else server.listen(path);
  await once(server, 'listening');
  t.after(() => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  const port = path === undefined ? (server.address() as AddressInfo).port : 0;
  return {
    endpoint: path === undefined ? `tcp:host=127.0.0.1:port=${port}` : `unix:${path}`,
    port,
    connections,
    server,
  };
}

export type Client = {
  socket: Socket;
  /** The next line that arrives; rejects when the connection ends before. */
  line(): Promise<string>;
  /** Send a line and hear it back. */
  echo(text: string): Promise<string>;
  end(): Promise<void>;
};

/** Connect and collect lines. */
export async function openClient(
  t: TestContext,
  where: { port: number; host?: string } | { path: string },
): Promise<Client> {
  const socket = 'port' in where ? connect({ host: '127.0.0.1', ...where }) : connect(where);
  t.after(() => void socket.destroy());
  let text = '';
  let failure: Error | null = null;
  let wake = () => {};
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    wake();
  });
  socket.on('error', (error) => (failure = error));
  socket.on('close', () => {
    failure ??= new Error('the connection ended');
    wake();
  });
  socket.on('end', () => wake());
  await once(socket, 'connect');
  const client: Client = {
    socket,
    async line() {
      for (;;) {
        const end = text.indexOf('\n');
        if (end >= 0) {
          const line = text.slice(0, end);
          text = text.slice(end + 1);
          return line;
        }
        if (failure) throw failure;
        if (socket.readableEnded) throw new Error('the connection ended');
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    async echo(line) {
      socket.write(`${line}\n`);
      return client.line();
    },
    async end() {
      const closed = once(socket, 'close');
      socket.end();
      await closed;
    },
  };
  return client;
}
