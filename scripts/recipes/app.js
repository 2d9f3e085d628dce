// A server to be deployed: what it answers is its VERSION. UP is its answer to /up: 200 unless it is told otherwise.
import http from 'node:http';

const { HOST = '127.0.0.1', PORT = '9001', VERSION = '1', UP = '200' } = process.env;
const server = http.createServer((request, response) => {
  if (request.url === '/up') response.writeHead(Number(UP)).end();
  else response.end(`version ${VERSION}\n`);
});
server.listen(Number(PORT), HOST);
// No more clients; those that are here get their answers, and then the process ends by itself.
process.on('SIGTERM', () => server.close());
