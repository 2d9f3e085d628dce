import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { serve } from 'grace/http';

const server = http.createServer(async (request, response) => {
  if (request.url === '/slow') await delay(2000);
  response.end(`pid ${process.pid}\n`);
});

await serve(server, { address: process.argv[2] ?? ':8080', log: console.log });
