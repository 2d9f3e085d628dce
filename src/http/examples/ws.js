import http from 'node:http';
import { WebSocketServer } from 'ws';
import { serve } from 'grace/http';

const server = http.createServer((request, response) => response.end(`pid ${process.pid}\n`));
const sockets = new WebSocketServer({ server });
sockets.on('connection', (socket) => {
  socket.on('message', (data) => socket.send(`${process.pid} heard ${data}`));
});

await serve(server, {
  address: process.argv[2] ?? ':8080',
  log: console.log,
  // 1012 is "service restart": clients connect again, and reach the new process.
  endConnection() {
    for (const socket of sockets.clients) socket.close(1012, 'restart');
  },
});
