import { resolve } from 'node:path';
import { clientShapes } from './client.ts';
import type { ClientEndpoint, DirectClient, ServerEndpoint, SniClient } from './model.ts';
import { isFileOfNetworks } from './networks.ts';
import { fileListNames, pathNames } from './parameter.ts';
import { serverShapes } from './server-shapes.ts';

/** The parameters that are paths, and what stands before the path; no type has another parameter of such a name. */
const paths: ReadonlyMap<string, string> = new Map(
  [...Object.values(serverShapes), ...Object.values(clientShapes)].flatMap((shape) => pathNames(shape)),
);

/** Those that are lists in which `@FILE` names one. */
const lists: ReadonlySet<string> = new Set(Object.values(serverShapes).flatMap((shape) => fileListNames(shape)));

/**
 * The same endpoint with every path absolute and without `.`, `..` and doubled slashes, those of a
 * nested endpoint included. Names in Linux's abstract namespace stay as they are.
 */
export function resolvePaths<Endpoint extends ServerEndpoint | ClientEndpoint>(
  endpoint: Endpoint,
  cwd: string,
): Endpoint {
  return mapPaths(endpoint, (path) => resolve(cwd, path));
}

/** The same endpoint with each path, except for abstract names, put through `change`. */
export function mapPaths<Endpoint extends ServerEndpoint | ClientEndpoint>(
  endpoint: Endpoint,
  change: (path: string) => string,
): Endpoint {
  if (endpoint.type === 'sni') return mapRoutes(endpoint, change) as Endpoint;
  const changed = { ...endpoint };
  for (const [name, value] of Object.entries<unknown>(endpoint)) {
    if (lists.has(name) && Array.isArray(value)) Object.assign(changed, { [name]: value.map(inList(change)) });
    const before = paths.get(name);
    const isPath = typeof value === 'string' && before !== undefined && value.startsWith(before);
    if (!isPath || value.startsWith('\0')) continue;
    Object.assign(changed, { [name]: `${before}${change(value.slice(before.length))}` });
  }
  if ('endpoint' in endpoint && endpoint.endpoint !== null) {
    Object.assign(changed, { endpoint: mapPaths<ServerEndpoint | ClientEndpoint>(endpoint.endpoint, change) });
  }
  return changed;
}

function mapRoutes({ type, routes, default: fallback }: SniClient, change: (path: string) => string): SniClient {
  const mapped = (endpoint: DirectClient) => mapPaths(endpoint, change);
  return {
    type,
    routes: routes.map((route) => ({ ...route, endpoint: mapped(route.endpoint) })),
    default: fallback && mapped(fallback),
  };
}

function inList(change: (path: string) => string): (item: string) => string {
  return (item) => (isFileOfNetworks(item) ? `@${change(item.slice(1))}` : item);
}
