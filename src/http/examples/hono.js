import { setTimeout as delay } from 'node:timers/promises';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { serve } from 'grace/http';

const app = new Hono();
app.get('/', (context) => context.text(`pid ${process.pid}\n`));
app.get('/slow', async (context) => {
  await delay(2000);
  return context.text(`pid ${process.pid}\n`);
});

// In the place of @hono/node-server's own serve(app).
await serve(createAdaptorServer(app), { address: process.argv[2] ?? ':8080', log: console.log });
