/** Every type of endpoint with its parameters, as help and manual page show them. */
import { clientShapes } from '../endpoint/client.ts';
import { clientExtras, clientTlsExtras, serverExtras, serverTlsExtras } from '../endpoint/extras.ts';
import { helpOf } from '../endpoint/parameter.ts';
import { serverShapes } from '../endpoint/server-shapes.ts';

/** One form of an endpoint, and its parameters. */
export type EndpointRow = readonly [usage: string, meaning: string];

const { tcp, tcp6, ssl, tls, unix } = serverShapes;
const { backlog } = tcp.parameters;
const ofServers = { backlog, ...serverExtras };
/** What stands in the usage, or in the rows for all. */
const saidOfServers = { port: null, path: null, address: null, ...ofServers, ...serverTlsExtras };

/** What SRC may be. */
export const serverRows: readonly EndpointRow[] = [
  ['8080, 127.0.0.1:8080, [::1]:8080', 'short for tcp'],
  ['/run/app.sock', 'short for unix'],
  ['tcp:PORT', helpOf(tcp.parameters, saidOfServers)],
  ['tcp6:PORT', helpOf(tcp6.parameters, saidOfServers)],
  ['ssl:PORT', helpOf(ssl.parameters, saidOfServers)],
  [
    'tls:DIRECTORY:PORT',
    `${helpOf(tls.parameters, saidOfServers)}; the certificate is chosen by name among the .pem files`,
  ],
  ['unix:PATH', `${helpOf(unix.parameters, saidOfServers)}; or abstract=NAME`],
  ['systemd:name=NAME', 'or index=NUMBER, domain=INET: a socket that systemd passes'],
  ['fd:NUMBER', 'a socket that the daemon inherits'],
  ['haproxy:tcp:PORT', 'or another of them: as with proxy=accept, a proxy says in a PROXY header who each client is'],
  ['any of them', helpOf(ofServers)],
  ['ssl and tls', helpOf(serverTlsExtras)],
];

const { timeout } = clientShapes.tcp.parameters;
const ofClients = { timeout, ...clientExtras };
const saidOfClients = { host: null, port: null, path: null, name: null, ...ofClients, ...clientTlsExtras };

/** What DST may be. */
export const clientRows: readonly EndpointRow[] = [
  ['9001, HOST:9001, tcp://HOST:80', 'short for tcp; a port alone is one of this machine'],
  ['tls://HOST:443', 'short for tls'],
  ['/run/app.sock', 'short for unix'],
  ['tcp:HOST:PORT', helpOf(clientShapes.tcp.parameters, saidOfClients)],
  ['tls:HOST:PORT', helpOf(clientShapes.tls.parameters, saidOfClients)],
  ['ssl:HOST:PORT', helpOf(clientShapes.ssl.parameters, saidOfClients)],
  ['unix:PATH', `${helpOf(clientShapes.unix.parameters, saidOfClients)}; or abstract=NAME`],
  ['srv:_SERVICE._tcp.DOMAIN', `${helpOf(clientShapes.srv.parameters, saidOfClients)}; where DNS says (SRV records)`],
  [
    'sni:NAME=DST',
    'also *.DOMAIN=DST, NAME+PROTOCOL=DST, default=DST, the colons of each DST escaped: TLS as it is, by the name that the client asks for',
  ],
  ['any of them but sni', helpOf(ofClients)],
  ['ssl and tls', helpOf(clientTlsExtras)],
];
