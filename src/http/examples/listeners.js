import net from 'node:net';
import { Net, serveOn } from 'grace/net';

const grace = new Net(); // takes what was inherited; make it when the program starts
const listener = await grace.listenTCP({ host: '127.0.0.1', port: Number(process.argv[2] ?? 9000) });
const server = net.createServer((socket) => socket.end(`hello from ${process.pid}\n`));
await serveOn(server, listener);
console.log(`Serving port ${listener.address.port} with pid ${process.pid}`);
grace.parent?.terminate(); // this one is a successor: its predecessor may end now

// A successor, with the same sockets, that this process need not stay for.
process.on('SIGUSR2', () => grace.startProcess().then((successor) => successor.unref(), console.error));
process.on('SIGTERM', () => server.close());
