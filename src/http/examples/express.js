import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import express from 'express';
import { serve } from 'grace/http';

const app = express();
app.get('/', (request, response) => response.send(`pid ${process.pid}\n`));
app.get('/slow', async (request, response) => {
  await delay(2000);
  response.send(`pid ${process.pid}\n`);
});

// In the place of app.listen(8080).
await serve(http.createServer(app), { address: process.argv[2] ?? ':8080', log: console.log });
