import type {
  BindableServer,
  ClientEndpoint,
  DirectClient,
  ServerEndpoint,
  SslClient,
  StdioServer,
  TlsClient,
} from './model.ts';
import { sniWays } from './sni.ts';

/** What listens: the endpoint itself, or the one that `haproxy:` wraps. */
export function innerEndpoint(endpoint: ServerEndpoint): BindableServer | StdioServer {
  return endpoint.type === 'haproxy' ? endpoint.endpoint : endpoint;
}

/** What is connected to in the end: the endpoint itself, or the one that `tls:…:endpoint=` wraps. */
export function innermost(endpoint: DirectClient): DirectClient {
  return endpoint.type === 'tls' && endpoint.endpoint !== null ? innermost(endpoint.endpoint) : endpoint;
}

/** Every place that an endpoint leads to: the endpoint itself, or those that it chooses among. */
export function directOf(endpoint: ClientEndpoint): DirectClient[] {
  return endpoint.type === 'sni' ? sniWays(endpoint).map((way) => way.endpoint) : [endpoint];
}

/** All TLS that is spoken towards an endpoint: of each place that it leads to, also inside another. */
export function tlsOf(endpoint: ClientEndpoint): (SslClient | TlsClient)[] {
  return [...new Set(directOf(endpoint))].flatMap(tlsOfDirect);
}

function tlsOfDirect(endpoint: DirectClient): (SslClient | TlsClient)[] {
  if (endpoint.type === 'ssl') return [endpoint];
  if (endpoint.type !== 'tls') return [];
  return [endpoint, ...(endpoint.endpoint === null ? [] : tlsOfDirect(endpoint.endpoint))];
}

/** Whether clients of this endpoint speak TLS, for which it names certificates. */
export function speaksTls(endpoint: ServerEndpoint): boolean {
  return hasTls(innerEndpoint(endpoint));
}

/** Whether an endpoint itself is one of TLS, on either side. */
export function hasTls<T extends { type: string }>(endpoint: T): endpoint is Extract<T, { type: 'ssl' | 'tls' }> {
  return endpoint.type === 'ssl' || endpoint.type === 'tls';
}
