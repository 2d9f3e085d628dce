/** TLS towards clients: certificates by name, handshakes that strangers cannot hold us with. The mirror image of originate.ts. */
import type { Socket } from 'node:net';
import type { SecureContext, TlsOptions, TLSSocket } from 'node:tls';
import { chooseIdentities, defaultIdentities, readServerDirectory } from '../../endpoint/directory.ts';
import type { NamedIdentity } from '../../endpoint/directory.ts';
import { readClientCA, readServerIdentity } from '../../endpoint/files.ts';
import type { ServerIdentity } from '../../endpoint/files.ts';
import type { SslServer, TlsServer } from '../../endpoint/model.ts';
import { nodeTls } from '../../endpoint/node-tls.ts';
import { serverDefaults, tlsVersions } from '../../endpoint/versions.ts';
import { errorCode, GraceError } from '../../error.ts';
import { hasGates, openGate } from './gate.ts';
import { destroyLeg, ignoreError, resetLeg } from './leg.ts';
import type { Leg } from './leg.ts';
import { shortened } from './originate.ts';

export type TerminatorOptions = {
  /** Longest handshake, in milliseconds. */
  handshakeTimeoutMs: number;
  /** Most handshakes at once; one more ends the oldest. */
  handshakeLimit: number;
};

/** Makes accepted clients TLS ones. */
export type Terminator = {
  /**
   * Takes the client over: it is closed when this rejects. Rejects with GraceError; with null when the
   * client went away; with the signal's reason.
   */
  handshake(client: Leg, signal: AbortSignal): Promise<Leg>;
  /** Read all files again, for handshakes to come. Throws GraceError and keeps what there was. */
  reload(): void;
};

type Handshake = {
  client: Leg;
  done: (socket: TLSSocket) => void;
  fail: (error: Error | null) => void;
  /** The client did not speak as it should, or refused us; it is told so in its own language. */
  refuse: (error: Error, reason: Error | null) => void;
};

/** What a browser sees that was sent to a TLS port with http://. */
const plainHttpAnswer = ['HTTP/1.1 400 Bad Request', 'Content-Type: text/plain', 'Content-Length: 34', 'Connection: close', '', 'This port speaks HTTPS, not HTTP.\n'].join('\r\n');

/** Read the certificates of an endpoint. Throws GraceError when one is missing or unusable. */
export function openTerminator(endpoint: SslServer | TlsServer, { handshakeTimeoutMs, handshakeLimit }: TerminatorOptions): Terminator {
  /** Handshakes under way by the client's address, oldest first. */
  const pending = new Map<string, Handshake>();

  const openServer = (options: TlsOptions, handshakeOf: (socket: TLSSocket) => Handshake | undefined) => {
    const server = nodeTls().createServer({ ...options, handshakeTimeout: handshakeTimeoutMs });
    server.on('secureConnection', (socket) => {
      socket.on('error', ignoreError);
      const handshake = handshakeOf(socket);
      if (handshake) handshake.done(socket);
      // Its address cannot be had any more: it was reset just now. See destroyLeg for why not at once.
      else setImmediate(() => socket.destroy());
    });
    server.on('tlsClientError', (error, socket) => {
      socket.on('error', ignoreError);
      const handshake = handshakeOf(socket) ?? destroyedOne(pending);
      if (handshake) handshake.refuse(error, handshakeError(error, socket));
      else setImmediate(() => socket.destroy());
    });
    return server;
  };

  const open = () => {
    const options = serverOptions(endpoint);
    const shared = openServer(options, (socket) => pending.get(addressKey(socket)));
    // Behind a gate a socket has no address to be found by; there each handshake has a server of its own.
    return (handshake: Handshake) => (hasGates ? openServer(options, () => handshake) : shared);
  };

  let serverFor = open();
  return {
    reload() {
      serverFor = open();
    },
    handshake(client, signal) {
      dropOldest(pending, handshakeLimit);
      return new Promise((resolve, reject) => {
        const key = addressKey(client.socket);
        const settle = () => {
          if (pending.get(key) === handshake) pending.delete(key);
          signal.removeEventListener('abort', abort);
          client.carrier.off('close', close);
        };
        const fail = (reason: unknown) => {
          settle();
          resetLeg(client);
          reject(reason);
        };
        const refuse = (error: Error, reason: Error | null) => {
          settle();
          if (errorCode(error) === 'ERR_SSL_HTTP_REQUEST' && !client.carrier.destroyed) client.carrier.write(plainHttpAnswer);
          // A reset could overtake the alert or the answer.
          setImmediate(() => destroyLeg(client));
          reject(reason);
        };
        // The error that led to it may come after it.
        const close = () => setImmediate(fail, null);
        const abort = () => (client.carrier.destroyed ? close() : fail(signal.reason));
        const { stream, gate } = openGate(client);
        const done = (socket: TLSSocket) => {
          settle();
          // Whatever comes from now on waits for the relay.
          gate?.pause();
          resolve({ ...client, socket, gate });
        };
        const handshake: Handshake = { client, fail, refuse, done };
        pending.set(key, handshake);
        client.carrier.once('close', close);
        signal.addEventListener('abort', abort);
        serverFor(handshake).emit('connection', stream);
        // Reset before it was accepted: it has no address to be found by.
        if (client.carrier.remoteAddress === undefined) fail(null);
        else if (signal.aborted) abort();
      });
    },
  };
}

function dropOldest(pending: ReadonlyMap<string, Handshake>, limit: number): void {
  if (pending.size < limit) return;
  const [oldest] = pending.values();
  oldest?.fail(new GraceError(`TLS handshake ended: more than ${limit} under way`));
}

/** node:tls does not say which accepted socket a TLS socket came from; the addresses of its connection do. */
function addressKey({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

/** A socket that was destroyed has no address any more; the client under it is destroyed then too. */
function destroyedOne(pending: ReadonlyMap<string, Handshake>): Handshake | undefined {
  return [...pending.values()].find(({ client }) => client.carrier.destroyed);
}

function handshakeError(error: Error, socket: TLSSocket): Error | null {
  // What the check of a client certificate found is kept apart from the error that it leads to.
  const { authorizationError } = socket;
  if (authorizationError) return new GraceError(`TLS handshake failed: the client's certificate is not trusted (${String(authorizationError)})`, { cause: error });
  const code = errorCode(error);
  if (code === 'ECONNRESET' || code === 'EPIPE') return null;
  return new GraceError(`TLS handshake failed: ${shortened(error)}`, { cause: error });
}

function serverOptions(endpoint: SslServer | TlsServer): TlsOptions {
  const ca = readClientCA(endpoint);
  const common = { ...serverDefaults, ...(endpoint.type === 'ssl' ? tlsVersions(endpoint.sslmethod) : tlsVersions(null)), ...(ca === null ? {} : { ca }) };
  const named = readNamed(endpoint);
  const own: ServerIdentity | undefined = endpoint.type === 'ssl' ? readServerIdentity(endpoint) : undefined;
  const contexts = new Map<string, SecureContext>();
  const contextFor = (identities: readonly NamedIdentity[]) => {
    const key = identities.map((each) => named.indexOf(each)).join();
    const context = contexts.get(key) ?? nodeTls().createSecureContext({ ...common, ...pairsOf(identities) });
    contexts.set(key, context);
    return context;
  };
  const choose = (name: string) => {
    const chosen = chooseIdentities(named, name);
    if (chosen.length > 0) return contextFor(chosen);
    return endpoint.type === 'tls' ? contextFor(defaultIdentities(named)) : undefined;
  };
  return {
    ...common,
    ...pairsOf(own === undefined ? defaultIdentities(named) : [own]),
    ...(own?.dhparam === undefined ? {} : { dhparam: own.dhparam }),
    ...(named.length === 0 ? {} : { SNICallback: (name, done) => done(null, choose(name)) }),
    ...(endpoint.alpn === undefined ? {} : { ALPNProtocols: [...endpoint.alpn] }),
    requestCert: ca !== null,
    rejectUnauthorized: ca !== null,
  };
}

/** One of each kind of key, of which OpenSSL takes what the client can use. Deno knows only one. */
function pairsOf(identities: readonly ServerIdentity[]): { key: string | string[]; cert: string | string[] } | object {
  const [first] = identities;
  if (first === undefined) return {};
  if (identities.length === 1 || hasGates) return { key: first.key, cert: first.cert };
  return { key: identities.map(({ key }) => key), cert: identities.map(({ cert }) => cert) };
}

function readNamed(endpoint: SslServer | TlsServer): NamedIdentity[] {
  const named = endpoint.type === 'tls' ? readServerDirectory(endpoint) : [];
  return endpoint.sni === undefined ? named : [...named, ...readServerDirectory({ path: endpoint.sni }, { parameter: 'sni' })];
}
