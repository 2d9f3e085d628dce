// A server to be deployed: what it answers is its VERSION. UP is its answer to /up: 200 unless it is told otherwise.
import http from 'node:http';

const { HOST = '127.0.0.1', PORT = '9001', VERSION = '1', UP = '200' } = process.env;
let isEnding = false;
const server = http.createServer((request, response) => {
  if (isEnding) response.setHeader('Connection', 'close');
  if (request.url === '/up') response.writeHead(Number(UP)).end();
  else response.end(`version ${VERSION}\n`);
});
server.listen(Number(PORT), HOST);
// Clients that keep their connections open are told with their next answer; the others go after a second. Then it ends by itself.
process.on('SIGTERM', () => {
  isEnding = true;
  setTimeout(() => server.close(), 1000);
});
