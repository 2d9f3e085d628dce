/**
 * All that the files of a source with TLS say, in parts: its own pair, certificates by name, authorities of clients, keys of
 * tickets. When they are read again each is taken by itself, and of what is bad the part stays that was good.
 */
import { readServerDirectory } from './directory.ts';
import type { NamedIdentity } from './directory.ts';
import { EndpointError } from './error.ts';
import { readClientCA, readServerIdentity } from './files.ts';
import type { FileOptions, ServerIdentity } from './files.ts';
import type { SslServer, TlsServer } from './model.ts';
import { printServer } from './print.ts';
import { withThoseThatStay } from './staying.ts';
import { readTicketKeys } from './ticket-keys.ts';

/** Read at one time, or later where that was bad. */
export type ServerParts = {
  /** Presented when none of the others has the name; null: a directory has all there are. */
  readonly own: ServerIdentity | null;
  readonly named: readonly NamedIdentity[];
  /** What was said of files that could not be used, when all certificates by name were last of one reading. */
  readonly skipped: readonly string[];
  /** The authorities of `clientCA`, as PEM; null: no client is asked for a certificate. */
  readonly authorities: string | null;
  /** Null: tickets are sealed with the keys of every listener. */
  readonly ticketKeys: readonly Buffer[] | null;
};

/** The parts after another reading, and why some of them, or some certificates, are still those of before. */
export type ServerPartsAgain = { readonly parts: ServerParts; readonly problems: readonly string[] };

/** Read them. Throws EndpointError when a file is missing or unusable. */
export function readServerParts(endpoint: SslServer | TlsServer): ServerParts {
  const text = printServer(endpoint);
  const skipped: string[] = [];
  return {
    own: readOwn(endpoint, { text }),
    named: readNamed(endpoint, { text, warn: (warning) => void skipped.push(warning) }),
    skipped,
    authorities: readClientCA(endpoint, { text }),
    ticketKeys: readTicketKeys(endpoint, { text }),
  };
}

/** Read them again, where this has been read before. */
export function readServerPartsAgain(endpoint: SslServer | TlsServer, before: ServerParts): ServerPartsAgain {
  const text = printServer(endpoint);
  const problems: string[] = [];
  const part = <Part>(read: () => Part, old: Part): Part => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof EndpointError)) throw error;
      problems.push(error.reason);
      return old;
    }
  };
  const parts = {
    own: part(() => {
      const objections: string[] = [];
      const own = readOwn(endpoint, { text, object: (problem) => void objections.push(problem) });
      problems.push(...objections);
      return objections.length === 0 ? own : before.own;
    }, before.own),
    ...part(
      () => {
        const skipped: string[] = [];
        const now = readNamed(endpoint, { text, warn: (warning) => void skipped.push(warning) });
        const { identities, reasons } = withThoseThatStay(now, before, skipped);
        problems.push(...reasons);
        return { named: identities, skipped: reasons.length === 0 ? skipped : before.skipped };
      },
      { named: before.named, skipped: before.skipped },
    ),
    authorities: part(() => readClientCA(endpoint, { text }), before.authorities),
    ticketKeys: part(() => readTicketKeys(endpoint, { text }), before.ticketKeys),
  };
  return { parts, problems: [...new Set(problems)] };
}

/** Without the authorities of clients, which are a part of their own. */
function readOwn(endpoint: SslServer | TlsServer, options: FileOptions): ServerIdentity | null {
  if (endpoint.type !== 'ssl') return null;
  const { clientCA: _clientCA, ...rest } = endpoint;
  return readServerIdentity(rest, options);
}

/** The identities among which a server chooses by name: those of a `tls:` directory, or those of `sni`. */
function readNamed(endpoint: SslServer | TlsServer, options: FileOptions): NamedIdentity[] {
  if (endpoint.type === 'tls') return readServerDirectory(endpoint, options);
  const { sni: path, passphrase } = endpoint;
  return path === undefined ? [] : readServerDirectory({ path, passphrase }, { ...options, parameter: 'sni' });
}
