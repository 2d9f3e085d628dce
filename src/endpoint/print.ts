/**
 * Endpoints as text: required parameters by position, the others by name and only where they
 * differ from the default. Reading the text gives the same endpoint again.
 */
import { clientShape } from './client.ts';
import type { ClientEndpoint, ServerEndpoint } from './model.ts';
import { printParameters } from './parameter.ts';
import { serverShape } from './server-shapes.ts';
import { printSni } from './sni.ts';

/**
 * A server endpoint as grace would write it: parameters that have their default are left out. Parsing it
 * gives the same endpoint.
 */
export function printServer(endpoint: ServerEndpoint): string {
  switch (endpoint.type) {
    case 'stdio':
      return 'stdio:';
    case 'haproxy':
      return `haproxy:${printServer(endpoint.endpoint)}`;
    default:
      return printParameters(serverShape(endpoint), endpoint);
  }
}

/** A client endpoint as grace would write it; see {@link printServer}. */
export function printClient(endpoint: ClientEndpoint): string {
  if (endpoint.type === 'sni') return printSni(endpoint, printClient);
  const nested =
    endpoint.type === 'tls' && endpoint.endpoint !== null ? { endpoint: printClient(endpoint.endpoint) } : {};
  return printParameters(clientShape(endpoint), { ...endpoint, ...nested });
}
