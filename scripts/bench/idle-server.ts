/** Echoes, and holds connections: the other side of the memory measurement. */
import net from 'node:net';

net
  .createServer((socket) => {
    socket.on('error', () => {}); // the client is gone
    socket.pipe(socket);
  })
  .listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
