/** Who serves a control socket, in this process, and clients that send it bytes as they are. */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { statePaths } from '../../src/control/paths.ts';
import { serveControl } from '../../src/control/server.ts';
import type { ControlServer, RequestHandler } from '../../src/control/server.ts';
import { openListener } from '../../src/net/open.ts';
import { makeTempDir } from '../net/temp-dir.ts';

/** Serve a state dir of its own until the test has ended. `errors` are those of the server itself. */
export async function serveHere(
  t: TestContext,
  handle: RequestHandler,
  { backlog = 10 } = {},
): Promise<{ dir: string; server: ControlServer; errors: unknown[] }> {
  const dir = makeTempDir();
  const listener = await openListener(
    { kind: 'unix', path: statePaths(dir.path).socket, mode: 0o600, backlog },
    { name: 'control' },
  );
  const errors: unknown[] = [];
  const server = await serveControl(listener, handle, (error) => errors.push(error));
  t.after(() => {
    server.close();
    listener.close();
    dir[Symbol.dispose]();
  });
  return { dir: dir.path, server, errors };
}

/** Send bytes as they are and hear the whole answer. */
export async function sendRaw(dir: string, text: string): Promise<string> {
  const socket = connect(statePaths(dir).socket);
  const answer = heardBy(socket);
  socket.on('error', () => {}); // the answer tells
  socket.write(text);
  return answer;
}

/** All that comes until the connection is closed. */
export async function heardBy(socket: Socket): Promise<string> {
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  return answer;
}
