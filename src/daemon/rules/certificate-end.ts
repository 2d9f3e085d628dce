/** The ends of a rule as far as their certificates go: which files they name, and what these say. */
import { resolve } from 'node:path';
import { checkClient, checkServer } from '../../endpoint/check.ts';
import { innerEndpoint, speaksTls, tlsOf } from '../../endpoint/inner.ts';
import type { ClientEndpoint, ServerEndpoint } from '../../endpoint/model.ts';
import { mapPaths } from '../../endpoint/paths.ts';
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
    check: (object) => checkServer(endpoint, { object }),
    expiries: () => serverExpiries(endpoint),
  };
}

/** Where clients go; null: it names no files of TLS. The authorities of the system are none of its own. */
export function certificatesOfDestination(
  { typed: src }: SourceSpec,
  { typed, endpoint }: DestinationSpec,
): CertificateEnd | null {
  // What a way leads over is looked at by itself; the path of a socket is no file of TLS.
  const paths = pathsOf(tlsOf(endpoint).map((each) => (each.type === 'tls' ? { ...each, endpoint: null } : each)));
  if (paths.length === 0) return null;
  return {
    named: { src, dst: typed },
    paths,
    check: (object) => checkClient(endpoint, { object, paths: false }),
    expiries: () => clientExpiries(endpoint),
  };
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
