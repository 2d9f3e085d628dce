import { setTimeout as delay } from 'node:timers/promises';
import fastify from 'fastify';
import { serve } from 'grace/http';

const app = fastify();
app.get('/', () => `pid ${process.pid}\n`);
app.get('/slow', async () => {
  await delay(2000);
  return `pid ${process.pid}\n`;
});

// In the place of app.listen({ port: 8080 }).
await app.ready();
await serve(app.server, { address: process.argv[2] ?? ':8080', log: console.log });
await app.close(); // its onClose hooks run when the last request has been answered
