/** The ends of a rule as far as their certificates go: which files they name, and what these say. */
import { resolve } from 'node:path';
import { checkClient, checkServer } from '../../endpoint/check.ts';
import { innerEndpoint, speaksTls, tlsOf } from '../../endpoint/inner.ts';
import type { ClientEndpoint, ServerEndpoint, SslClient, TlsClient } from '../../endpoint/model.ts';
import { mapPaths } from '../../endpoint/paths.ts';
import type { TlsEnds } from '../../engine/engine.ts';
import type { DestinationSpec } from '../../forward/destination.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { clientExpiries, serverExpiries } from './expiries.ts';
import type { Expiry } from './expiries.ts';

/** A source, or a destination of a rule. */
export type CertificateEnd = {
  /** What lines of the log name it by. */
  readonly named: { readonly src: string; readonly dst?: string };
  /** The files and directories of its TLS. */
  readonly paths: readonly string[];
  /** Whether who uses the files takes what is good of them, and says why not the rest. */
  readonly isTakenInParts: boolean;
  /**
   * Read the files. `object` hears why what is presented should not replace what is in use. Returns what is to be said of
   * them; throws EndpointError when one cannot be used.
   */
  check(object?: (problem: string) => void): string[];
  /** Until when the certificates are valid that it presents. */
  expiries(): Expiry[];
};

/** Where clients come in; null: it names no files of TLS. */
export function certificatesOfSource({ typed, endpoint }: SourceSpec): CertificateEnd | null {
  if (!speaksTls(endpoint)) return null;
  // Lists of networks are followed by themselves.
  const { allow: _allow, deny: _deny, ...ofTls } = { allow: [], deny: [], ...innerEndpoint(endpoint) };
  return {
    named: { src: typed },
    paths: pathsOf([ofTls]),
    isTakenInParts: true,
    check: (object) => checkServer(endpoint, { object }),
    expiries: () => serverExpiries(endpoint),
  };
}

/** TLS that is spoken towards a destination, all that has the same files: an end by itself. */
export type DestinationEnd = CertificateEnd & { readonly speaks: TlsEnds };

/**
 * Where clients go, by the files of its TLS: of several places, one whose files are bad is not to hold up the others. None
 * where it names no files. The authorities of the system are none of its own.
 */
export function certificatesOfDestination(
  { typed: src }: SourceSpec,
  { typed, endpoint }: DestinationSpec,
): DestinationEnd[] {
  const byFiles = new Map<string, { paths: readonly string[]; speaks: Set<SslClient | TlsClient> }>();
  for (const each of tlsOf(endpoint)) {
    const paths = pathsOf([alone(each)]);
    const key = paths.join('\n');
    const same = byFiles.get(key) ?? { paths, speaks: new Set() };
    if (paths.length > 0) byFiles.set(key, { paths, speaks: same.speaks.add(each) });
  }
  return [...byFiles.values()].map(({ paths, speaks }) => ({
    named: { src, dst: typed },
    paths,
    isTakenInParts: false,
    speaks,
    check: (object) => [...new Set([...speaks].flatMap((each) => checkClient(alone(each), { object })))],
    expiries: () => clientExpiries([...speaks]),
  }));
}

/** What it leads through is an end by itself. */
function alone(endpoint: SslClient | TlsClient): SslClient | TlsClient {
  return endpoint.type === 'tls' ? { ...endpoint, endpoint: null } : endpoint;
}

function pathsOf(endpoints: readonly (ServerEndpoint | ClientEndpoint)[]): string[] {
  const paths = new Set<string>();
  for (const each of endpoints)
    mapPaths(each, (path) => {
      paths.add(resolve(path));
      return path;
    });
  return [...paths];
}
