/** TLS towards clients: certificates by name, handshakes that strangers cannot hold us with. The mirror image of originate.ts. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Socket } from 'node:net';
import type { Server, TlsOptions, TLSSocket } from 'node:tls';
import type { SslServer, TlsServer } from '../../endpoint/model.ts';
import { nodeTls } from '../../endpoint/node-tls.ts';
import { readServerParts, readServerPartsAgain } from '../../endpoint/server-parts.ts';
import type { ServerParts } from '../../endpoint/server-parts.ts';
import { errorCode, GraceError } from '../../error.ts';
import { ClientHelloReader, KEY_TYPES, usableKeyTypes } from '../client-hello.ts';
import type { ClientHello } from '../client-hello.ts';
import { checkedClientsOf } from './checked-clients.ts';
import type { CheckedClients } from './checked-clients.ts';
import { HAS_GATES, openGate } from './gate.ts';
import { destroyLeg, ignoreError, resetLeg } from './leg.ts';
import type { Leg, ShownTls } from './leg.ts';
import { shortened } from './originate.ts';
import { peek } from './peek.ts';
import { PLAIN_HTTP_ANSWER } from '../words.ts';
import { sealTickets, sealTicketsOf } from './seal-tickets.ts';
import { prepareServer } from './server-files.ts';
import type { TicketRing } from '../ticket-ring.ts';

/** Limits of handshakes. */
export type TerminatorOptions = {
  /** Longest handshake, in milliseconds. */
  handshakeTimeoutMs: number;
  /** Most handshakes at once; one more ends the oldest. */
  handshakeLimit: number;
  /** What seals session tickets where an endpoint has no keys of its own. */
  tickets: TicketRing;
};

/** Makes accepted clients TLS ones. */
export type Terminator = {
  /**
   * Takes the client over: it is closed when this rejects. Rejects with GraceError; with null when the
   * client went away; with the signal's reason.
   */
  handshake(client: Leg, signal: AbortSignal): Promise<Leg>;
  /** Read all files again, for handshakes to come; returns why some of what they said stays as it was. Throws GraceError and keeps all of it. */
  reload(): readonly string[];
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
  { handshakeTimeoutMs, handshakeLimit, tickets }: TerminatorOptions,
): Terminator {
  /** Handshakes under way by the client's address, oldest first. */
  const pending = new Map<string, Handshake>();

  const timeoutMs = endpoint.handshakeTimeout ?? handshakeTimeoutMs;
  const seesTruncation = endpoint.truncation !== undefined;
  /** Behind a gate of Node's a TLS socket has no address to be found by; what is called from it knows whose it is. */
  const begun = new AsyncLocalStorage<Handshake>();
  const find = (socket: TLSSocket) => begun.getStore() ?? pending.get(addressKey(socket));

  const openServer = (
    options: TlsOptions,
    handshakeOf: (socket: TLSSocket) => Handshake | undefined,
    checked: CheckedClients | null = null,
  ) => {
    const server = nodeTls().createServer({ ...options, handshakeTimeout: timeoutMs });
    server.on('secureConnection', (socket) => {
      socket.on('error', ignoreError);
      const handshake = handshakeOf(socket);
      const stranger = endpoint.clientAuth === 'optional' ? distrusted(socket) : unchecked(socket, checked);
      if (handshake && stranger) handshake.fail(stranger);
      else if (handshake) handshake.done(socket);
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

  let clients: CheckedClients | null = null;
  const open = (parts: ServerParts) => {
    const sealingKeys = () => ticketKeys ?? tickets.keys;
    const { isMixed, optionsFor, ticketKeys } = prepareServer(endpoint, parts, (context) =>
      sealTicketsOf(context, sealingKeys),
    );
    const shared = new Map<string, Server>();
    // What is wrong with the files is to be known now.
    const checked = checkedClientsOf(optionsFor(KEY_TYPES), clients);
    clients = checked;
    const serverFor = (handshake: Handshake, usable: readonly string[]) => {
      // Behind a gate a socket has no address to be found by; there each handshake has a server of its own.
      if (HAS_GATES) return openServer(optionsFor(usable), () => handshake, checked);
      const key = usable.join();
      const known = shared.get(key);
      if (known) return known;
      const server = openServer(optionsFor(usable), find);
      sealTickets(server, sealingKeys);
      shared.set(key, server);
      return server;
    };
    return { parts, isMixed, serverFor };
  };

  let current = open(readServerParts(endpoint));
  return {
    reload() {
      const { parts, problems } = readServerPartsAgain(endpoint, current.parts);
      current = open(parts);
      return problems;
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
          gateOf?.carries?.(socket);
          const facts = endpoint.clientCA === undefined || HAS_GATES ? {} : { tls: factsOf(socket) };
          resolve({ ...client, socket, gate: gateOf, ...facts });
        };
        const handshake: Handshake = { client, fail, refuse, done };
        pending.set(key, handshake);
        client.carrier.once('close', close);
        signal.addEventListener('abort', abort);
        const begin = (usable: readonly string[]) => {
          const { stream, gate } = openGate(client, { seesTruncation });
          gateOf = gate;
          const server = serverFor(handshake, usable);
          const start = () => void server.emit('connection', stream);
          if (stream === client.socket) start();
          else begun.run(handshake, start);
        };
        const { isMixed, serverFor } = current;
        // Reset before it was accepted: it has no address to be found by.
        if (client.carrier.remoteAddress === undefined) return fail(null);
        if (signal.aborted) return abort();
        if (!isMixed) return begin(KEY_TYPES);
        const over = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
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
  const reader = new ClientHelloReader();
  let hello: ClientHello | 'more' | null = 'more';
  await peek(socket, (part) => (hello = reader.add(part)) !== 'more', signal);
  const found = hello as ClientHello | 'more' | null;
  const usable = found === null || found === 'more' ? [] : usableKeyTypes(found);
  return usable.length === 0 ? KEY_TYPES : usable;
}

function dropOldest(pending: ReadonlyMap<string, Handshake>, limit: number): void {
  if (pending.size < limit) return;
  const oldestFirst = [...pending.values()];
  // Who comes in crowds, and says nothing, must not keep others from finishing.
  const silent = oldestFirst.find(({ client }) => client.carrier.bytesRead === 0);
  (silent ?? oldestFirst[0])?.fail(new GraceError(`TLS handshake ended: more than ${limit} under way`));
}

/** node:tls does not say which accepted socket a TLS socket came from; the addresses of its connection do. */
function addressKey({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

/** A socket that was destroyed has no address any more; the client under it is destroyed then too. */
function destroyedOne(pending: ReadonlyMap<string, Handshake>): Handshake | undefined {
  return [...pending.values()].find(({ client }) => client.carrier.destroyed);
}

/** Why a client is refused that need not have a certificate and has one that is not trusted; null when it is not. */
function distrusted(socket: TLSSocket): Error | null {
  if (socket.authorized || nameOf(socket) === undefined) return null;
  return new GraceError(
    `TLS handshake failed: the client's certificate is not trusted (${String(socket.authorizationError)})`,
  );
}

/** Why a client is refused that goes on with a session in which it did not show what is asked for here; null when it is not. */
function unchecked(socket: TLSSocket, checked: CheckedClients | null): Error | null {
  if (checked === null || checked.admit(socket)) return null;
  return new GraceError("TLS handshake failed: the client's session began where its certificate was not checked");
}

function factsOf(socket: TLSSocket): ShownTls {
  return {
    version: socket.getProtocol() ?? '',
    clientName: socket.authorized ? (nameOf(socket) ?? null) : null,
    isResumed: socket.isSessionReused(),
  };
}

/** The common name of the peer's certificate, empty when it has none; undefined without a certificate. */
function nameOf(socket: TLSSocket): string | undefined {
  const { subject } = socket.getPeerCertificate() as { subject?: { CN?: string | string[] } };
  return subject === undefined ? undefined : [subject.CN ?? ''].flat().join(', ');
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
