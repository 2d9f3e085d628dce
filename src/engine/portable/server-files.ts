/** What a TLS listener presents and asks for, made of its files: whole again at every reload. */
import { Socket } from 'node:net';
import type { SecureContext, TlsOptions } from 'node:tls';
import { chooseIdentities, defaultIdentities } from '../../endpoint/directory.ts';
import type { NamedIdentity } from '../../endpoint/directory.ts';
import type { ServerIdentity } from '../../endpoint/files.ts';
import type { SslServer, TlsServer } from '../../endpoint/model.ts';
import { nodeTls } from '../../endpoint/node-tls.ts';
import type { ServerParts } from '../../endpoint/server-parts.ts';
import { serverOffer, tlsVersions } from '../../endpoint/versions.ts';
import { GraceError } from '../../error.ts';
import { chooseCertificate } from '../certificate-choice.ts';
import { TICKET_LIFETIME_S } from '../policy.ts';
import { sessionIdContext } from '../session-context.ts';
import { HAS_GATES } from './gate.ts';

/** What a listener needs of its files. */
export type ServerFiles = {
  /** Some name has certificates of several kinds of keys. */
  isMixed: boolean;
  /** For a client that can use these kinds of keys. */
  optionsFor: (usable: readonly string[]) => TlsOptions;
  /** What seals session tickets here, the newest first; null: what seals those of every listener. */
  ticketKeys: readonly Buffer[] | null;
};

/**
 * What is made of what the files of an endpoint say. Throws GraceError. Of a context that is chosen by name, node:tls presents one certificate
 * whatever the client can use: where a name has several, the choice is made here, by what the client says first.
 * `prepare`: called with each context that is chosen by name, when it has been made.
 */
export function prepareServer(
  endpoint: SslServer | TlsServer,
  { own: ownOrNull, named, authorities: ca, ticketKeys }: ServerParts,
  prepare: (context: SecureContext) => void = () => {},
): ServerFiles {
  mustBeAble(endpoint);
  const common = {
    ...serverOffer(endpoint),
    ...tlsVersions(endpoint.type === 'ssl' ? endpoint.sslmethod : null, endpoint.minTLS),
    ...(ca === null ? {} : { ca }),
    sessionIdContext: sessionIdContext(endpoint, ca),
    sessionTimeout: TICKET_LIFETIME_S,
  };
  const own = ownOrNull ?? undefined;
  const contexts = new Map<string, SecureContext>();
  const contextFor = (identity: NamedIdentity) => {
    const key = String(named.indexOf(identity));
    const known = contexts.get(key);
    if (known !== undefined) return known;
    const context = nodeTls().createSecureContext({ ...common, key: identity.key, cert: identity.cert });
    prepare(context);
    if (endpoint.alpn !== undefined) letChooseProtocols(context);
    contexts.set(key, context);
    return context;
  };
  const choose = (name: string, usable: readonly string[]) => {
    const chosen = chooseCertificate({ named, hasOther: own !== undefined }, name, usable);
    return chosen && contextFor(chosen);
  };
  const optionsFor = (usable: readonly string[]): TlsOptions => ({
    ...common,
    ...pairsOf(own === undefined ? defaultIdentities(named) : [own]),
    ...(own?.dhparam === undefined ? {} : { dhparam: own.dhparam }),
    ...(named.length === 0 ? {} : { SNICallback: (name, done) => done(null, choose(name, usable)) }),
    ...(endpoint.alpn === undefined ? {} : { ALPNProtocols: [...endpoint.alpn] }),
    requestCert: ca !== null,
    // One with a bad certificate is refused in either case: see terminate.ts.
    rejectUnauthorized: ca !== null && endpoint.clientAuth !== 'optional',
  });
  const names = new Set(named.flatMap((each) => each.names));
  return {
    isMixed: [...names].some((name) => chooseIdentities(named, name).length > 1),
    optionsFor,
    ticketKeys,
  };
}

/**
 * Behind a HelloRetryRequest OpenSSL asks the context that was chosen by name for the protocol, where Node has put its answer in
 * the server's alone: it does so at the first socket of a context, which is this one.
 */
function letChooseProtocols(secureContext: SecureContext): void {
  if (HAS_GATES) return;
  const { TLSSocket } = nodeTls();
  new TLSSocket(new Socket(), { isServer: true, secureContext, ALPNProtocols: ['any'] }).destroy();
}

/** What Deno's TLS has no choice of is refused, not passed over. */
function mustBeAble(endpoint: SslServer | TlsServer): void {
  if (!('Deno' in globalThis)) return;
  const given: string[] = (['ciphers', 'groups', 'ticketKeys'] as const).filter((name) => endpoint[name] !== undefined);
  // It does not tell whose certificate it was.
  if (endpoint.clientAuth === 'optional') given.push('clientAuth=optional');
  if (given.length > 0)
    throw new GraceError(`Deno's TLS cannot do this: ${given.join(', ')}`, {
      hint: `leave ${given.length > 1 ? 'them' : 'it'} out, or run grace on Node, as the executable does`,
      code: 'ERR_GRACE_ENDPOINT',
    });
}

/** One of each kind of key, of which OpenSSL takes what the client can use. Deno knows only one. */
function pairsOf(identities: readonly ServerIdentity[]): { key: string | string[]; cert: string | string[] } | object {
  const [first] = identities;
  if (first === undefined) return {};
  if (identities.length === 1 || HAS_GATES) return { key: first.key, cert: first.cert };
  return { key: identities.map(({ key }) => key), cert: identities.map(({ cert }) => cert) };
}
