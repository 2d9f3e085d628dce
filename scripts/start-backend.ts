/**
 * A backend for `npm start`: `node scripts/start-backend.ts NAME PORT`. It says its name, and prints
 * its port when it listens: PORT, or another one when that is taken.
 *
 * `GET /` answers at once. `GET /download` sends one half, and the other when somebody asks `/finish`.
 */
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const [name = 'backend', port = '0'] = process.argv.slice(2);
const unfinished = new Set<ServerResponse>();

const server = createServer((request, response) => {
  switch (request.url) {
    case '/download':
      response.write(`first half from ${name}, `);
      unfinished.add(response);
      response.once('close', () => unfinished.delete(response));
      break;
    case '/finish':
      for (const each of unfinished) each.end(`second half from ${name}\n`);
      response.end('finished\n');
      break;
    default:
      response.end(`hello from ${name}\n`);
  }
});
server.once('error', () => server.listen({ host: '127.0.0.1', port: 0 })); // the port is taken
server.once('listening', () => console.log((server.address() as AddressInfo).port));
server.listen({ host: '127.0.0.1', port: Number(port) });
