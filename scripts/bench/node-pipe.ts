/** The simplest forwarder that Node can be: two pipes. */
import net from 'node:net';

const [port, upstreamPort] = process.argv.slice(2).map(Number);
net
  .createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = net.connect({ port: upstreamPort!, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    client.pipe(upstream).pipe(client);
  })
  .listen({ port, host: '127.0.0.1', backlog: 4096 });
