/** TLS towards clients: certificates by name, handshakes that strangers cannot hold us with. The mirror image of originate.ts. */
import type { Socket } from 'node:net';
import type { SecureContext, Server, TlsOptions, TLSSocket } from 'node:tls';
import { chooseIdentities, defaultIdentities, readServerDirectory } from '../../endpoint/directory.ts';
import type { NamedIdentity } from '../../endpoint/directory.ts';
import { readClientCA, readServerIdentity } from '../../endpoint/files.ts';
import type { ServerIdentity } from '../../endpoint/files.ts';
import type { SslServer, TlsServer } from '../../endpoint/model.ts';
import { nodeTls } from '../../endpoint/node-tls.ts';
import { serverDefaults, tlsVersions } from '../../endpoint/versions.ts';
import { errorCode, GraceError } from '../../error.ts';
import { KEY_TYPES, readClientHello, usableKeyTypes } from './client-hello.ts';
import { HAS_GATES, openGate } from './gate.ts';
import { destroyLeg, ignoreError, resetLeg } from './leg.ts';
import type { Leg } from './leg.ts';
import { shortened } from './originate.ts';
import { peek } from './peek.ts';
import { PLAIN_HTTP_ANSWER } from '../words.ts';

/** Limits of handshakes. */
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

/** Read the certificates of an endpoint. Throws GraceError when one is missing or unusable. */
export function openTerminator(
  endpoint: SslServer | TlsServer,
  { handshakeTimeoutMs, handshakeLimit }: TerminatorOptions,
): Terminator {
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
    const { isMixed, optionsFor } = readServer(endpoint);
    const shared = new Map<string, Server>();
    const serverFor = (handshake: Handshake, usable: readonly string[]) => {
      // Behind a gate a socket has no address to be found by; there each handshake has a server of its own.
      if (HAS_GATES) return openServer(optionsFor(usable), () => handshake);
      const key = usable.join();
      const server = shared.get(key) ?? openServer(optionsFor(usable), (socket) => pending.get(addressKey(socket)));
      shared.set(key, server);
      return server;
    };
    // What is wrong with the files is to be known now.
    optionsFor(KEY_TYPES);
    return { isMixed, serverFor };
  };

  let current = open();
  return {
    reload() {
      current = open();
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
          if (errorCode(error) === 'ERR_SSL_HTTP_REQUEST' && !client.carrier.destroyed)
            client.carrier.write(PLAIN_HTTP_ANSWER);
          // A reset could overtake the alert or the answer.
          setImmediate(() => destroyLeg(client));
          reject(reason);
        };
        // The error that led to it may come after it.
        const close = () => setImmediate(fail, null);
        const abort = () => (client.carrier.destroyed ? close() : fail(signal.reason));
        let gateOf: Leg['gate'] = null;
        const done = (socket: TLSSocket) => {
          settle();
          // Whatever comes from now on waits for the relay.
          gateOf?.pause();
          resolve({ ...client, socket, gate: gateOf });
        };
        const handshake: Handshake = { client, fail, refuse, done };
        pending.set(key, handshake);
        client.carrier.once('close', close);
        signal.addEventListener('abort', abort);
        const begin = (usable: readonly string[]) => {
          const { stream, gate } = openGate(client);
          gateOf = gate;
          serverFor(handshake, usable).emit('connection', stream);
        };
        const { isMixed, serverFor } = current;
        // Reset before it was accepted: it has no address to be found by.
        if (client.carrier.remoteAddress === undefined) return fail(null);
        if (signal.aborted) return abort();
        if (!isMixed) return begin(KEY_TYPES);
        const over = AbortSignal.any([signal, AbortSignal.timeout(handshakeTimeoutMs)]);
        void keysOf(client.socket, over).then((usable) => {
          if (pending.get(key) !== handshake || client.carrier.destroyed) return; // it has been ended
          if (over.aborted && !signal.aborted) fail(new GraceError('TLS handshake timeout'));
          else begin(usable);
        });
      });
    },
  };
}

/** The kinds of keys that a client can use; all when it cannot be told. */
async function keysOf(socket: Socket, signal: AbortSignal): Promise<readonly string[]> {
  const bytes = await peek(socket, (seen) => readClientHello(seen) !== 'more', signal);
  const hello = readClientHello(bytes);
  const usable = hello === null || hello === 'more' ? [] : usableKeyTypes(hello);
  return usable.length === 0 ? KEY_TYPES : usable;
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
  if (authorizationError)
    return new GraceError(
      `TLS handshake failed: the client's certificate is not trusted (${String(authorizationError)})`,
      { cause: error },
    );
  const code = errorCode(error);
  if (code === 'ECONNRESET' || code === 'EPIPE') return null;
  return new GraceError(`TLS handshake failed: ${shortened(error)}`, { cause: error });
}

type ServerFiles = {
  /** Some name has certificates of several kinds of keys. */
  isMixed: boolean;
  /** For a client that can use these kinds of keys. */
  optionsFor: (usable: readonly string[]) => TlsOptions;
};

/**
 * What a listener needs of its files. Of a context that is chosen by name, node:tls presents one certificate
 * whatever the client can use: where a name has several, the choice is made here, by what the client says first.
 */
function readServer(endpoint: SslServer | TlsServer): ServerFiles {
  const ca = readClientCA(endpoint);
  const common = {
    ...serverDefaults,
    ...(endpoint.type === 'ssl' ? tlsVersions(endpoint.sslmethod) : tlsVersions(null)),
    ...(ca === null ? {} : { ca }),
  };
  const named = readNamed(endpoint);
  const own: ServerIdentity | undefined = endpoint.type === 'ssl' ? readServerIdentity(endpoint) : undefined;
  const contexts = new Map<string, SecureContext>();
  const contextFor = (identities: readonly NamedIdentity[], usable: readonly string[]) => {
    const identity = bestOf(identities, usable)!;
    const key = String(named.indexOf(identity));
    const context =
      contexts.get(key) ?? nodeTls().createSecureContext({ ...common, key: identity.key, cert: identity.cert });
    contexts.set(key, context);
    return context;
  };
  const choose = (name: string, usable: readonly string[]) => {
    const chosen = chooseIdentities(named, name);
    if (chosen.length > 0) return contextFor(chosen, usable);
    return endpoint.type === 'tls' ? contextFor(defaultIdentities(named), usable) : undefined;
  };
  const optionsFor = (usable: readonly string[]): TlsOptions => ({
    ...common,
    ...pairsOf(own === undefined ? defaultIdentities(named) : [own]),
    ...(own?.dhparam === undefined ? {} : { dhparam: own.dhparam }),
    ...(named.length === 0 ? {} : { SNICallback: (name, done) => done(null, choose(name, usable)) }),
    ...(endpoint.alpn === undefined ? {} : { ALPNProtocols: [...endpoint.alpn] }),
    requestCert: ca !== null,
    rejectUnauthorized: ca !== null,
  });
  const names = new Set(named.flatMap((each) => each.names));
  return { isMixed: [...names].some((name) => chooseIdentities(named, name).length > 1), optionsFor };
}

/** The one whose key is the cheapest that the client can use; the first when it can use none, and is told so. */
function bestOf(identities: readonly NamedIdentity[], usable: readonly string[]): NamedIdentity | undefined {
  for (const type of usable) {
    const found = identities.find(({ keyType }) => keyType === type);
    if (found) return found;
  }
  return identities[0];
}

/** One of each kind of key, of which OpenSSL takes what the client can use. Deno knows only one. */
function pairsOf(identities: readonly ServerIdentity[]): { key: string | string[]; cert: string | string[] } | object {
  const [first] = identities;
  if (first === undefined) return {};
  if (identities.length === 1 || HAS_GATES) return { key: first.key, cert: first.cert };
  return { key: identities.map(({ key }) => key), cert: identities.map(({ cert }) => cert) };
}

function readNamed(endpoint: SslServer | TlsServer): NamedIdentity[] {
  const named = endpoint.type === 'tls' ? readServerDirectory(endpoint) : [];
  return endpoint.sni === undefined
    ? named
    : [...named, ...readServerDirectory({ path: endpoint.sni }, { parameter: 'sni' })];
}
