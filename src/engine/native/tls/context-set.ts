/** The SSL_CTXs of one listener, made of its files: the one that each handshake begins with, and those that one goes on with by what its ClientHello says. */
import { defaultIdentities } from '../../../endpoint/directory.ts';
import type { Identity } from '../../../endpoint/files.ts';
import type { SslServer, TlsServer } from '../../../endpoint/model.ts';
import type { ServerParts } from '../../../endpoint/server-parts.ts';
import { serverOffer, tlsVersions } from '../../../endpoint/versions.ts';
import { sessionIdContext } from '../../session-context.ts';
import type { HelloPlan } from '../thread-plans.ts';
import type { Crypto } from './library.ts';
import { openServerContext } from './server-context.ts';
import type { ContextOptions } from './server-context.ts';
import type { Ssl } from './ssl-library.ts';
import type { TrustStore, TrustStores } from './trust-stores.ts';

/** Owned by whoever opened it: `all` are to be freed (`SSL_CTX_free`), and `trust` closed. */
export type ContextSet = {
  first: bigint;
  all: readonly bigint[];
  /** By whom certificates of clients are verified; null: none are asked for. */
  trust: TrustStore | null;
  /** What is chosen by a ClientHello; null: nothing. */
  hello: HelloPlan | null;
  /** What the first one was made of. */
  options: ContextOptions;
};

/**
 * Make them of what the files say. Throws Error when libssl does not take that, or a cipher suite is offered whose records are not
 * ours.
 */
export function openContextSet(
  library: { ssl: Ssl; crypto: Crypto },
  stores: TrustStores,
  endpoint: SslServer | TlsServer,
  { own, named, authorities }: Omit<ServerParts, 'ticketKeys'>,
): ContextSet {
  const hasChoice = named.length > 0 || endpoint.alpn !== undefined;
  const settings = {
    offer: serverOffer(endpoint),
    versions: tlsVersions(endpoint.type === 'ssl' ? endpoint.sslmethod : null, endpoint.minTLS),
    sessionContext: sessionIdContext(endpoint, authorities),
    stopsAtHello: hasChoice,
    dhParameters: own?.dhparam ?? null,
  };
  const trust = authorities === null ? null : stores.open([authorities]);
  const areRequired = endpoint.clientAuth !== 'optional';
  const clients = trust && { trust, areRequired };
  const common = { ...settings, clients };
  const all: bigint[] = [];
  const open = (identities: readonly Identity[]) => {
    const context = openServerContext(library, { ...common, identities });
    all.push(context);
    return context;
  };
  try {
    const identities = own === null ? defaultIdentities(named) : [own];
    const first = open(identities);
    const certificates = named.map((each) => {
      const { names, keyType, validity } = each;
      return { names, keyType, validity, context: Number(open([each])) };
    });
    const hello = hasChoice
      ? { certificates, hasOther: own !== null, protocols: endpoint.alpn === undefined ? null : [...endpoint.alpn] }
      : null;
    return { first, all, trust, hello, options: { ...common, identities } };
  } catch (error) {
    for (const context of all) library.ssl.SSL_CTX_free(context);
    trust?.close();
    throw error;
  }
}
