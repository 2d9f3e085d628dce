/** Every type of endpoint with its parameters, as help and manual page show them. */

/** One form of an endpoint, and its parameters. */
export type EndpointRow = readonly [usage: string, meaning: string];

const serverParameters = 'backlog=NUMBER, maxconn=NUMBER (connections at once), idle=DURATION (then a silent connection is closed)';

/** What SRC may be. */
export const serverRows: readonly EndpointRow[] = [
  ['8080, 127.0.0.1:8080, [::1]:8080', 'short for tcp'],
  ['/run/app.sock', 'short for unix'],
  ['tcp:PORT', 'interface=ADDRESS (every IPv4 address)'],
  ['tcp6:PORT', 'interface=ADDRESS (::, which takes IPv4 too)'],
  ['ssl:PORT', 'privateKey=FILE, certKey=FILE, extraCertChain=FILE, dhParameters=FILE, sslmethod=NAME, interface=ADDRESS, sni=DIRECTORY'],
  ['tls:DIRECTORY:PORT', 'interface=ADDRESS; the certificate is chosen by name among the .pem files'],
  ['unix:PATH', 'mode=660, lockfile=0; or abstract=NAME'],
  ['systemd:name=NAME', 'or index=NUMBER, domain=INET: a socket that systemd passes'],
  ['fd:NUMBER', 'a socket that the daemon inherits'],
  ['any of them', serverParameters],
  ['ssl and tls', 'alpn=LIST, clientCA=FILE'],
];

/** What DST may be. */
export const clientRows: readonly EndpointRow[] = [
  ['9001, HOST:9001, tcp://HOST:80', 'short for tcp; a port alone is one of this machine'],
  ['tls://HOST:443', 'short for tls'],
  ['/run/app.sock', 'short for unix'],
  ['tcp:HOST:PORT', 'bindAddress=ADDRESS'],
  ['tls:HOST:PORT', 'trustRoots=DIRECTORY, certificate=FILE, privateKey=FILE, bindAddress=ADDRESS, endpoint=ENDPOINT'],
  ['ssl:HOST:PORT', 'caCertsDir=DIRECTORY, certKey=FILE, privateKey=FILE, hostname=NAME, bindAddress=ADDRESS'],
  ['unix:PATH', 'lockfile=1; or abstract=NAME'],
  ['any of them', 'timeout=SECONDS (to connect in, 30), retry=DURATION (a refused connect is tried so long), keepalive=DURATION'],
  ['ssl and tls', 'serverName=NAME, alpn=LIST, insecure=yes'],
];
