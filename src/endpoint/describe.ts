/** Endpoints for people and for programs that ask what a string means. */
import { clientShape } from './client.ts';
import type { ClientEndpoint, ServerEndpoint } from './model.ts';
import { explainParameters } from './parameter.ts';
import type { Explanation } from './parameter.ts';
import { printClient } from './print.ts';
import { serverShape } from './server-shapes.ts';
import { explainSni } from './sni.ts';

/**
 * The normal form as JSON: every parameter of the type by its name with defaults filled in, null for
 * "not given"; grace's own parameters only when given; wrapped and nested ones under `endpoint`.
 */
export function toJson(endpoint: ServerEndpoint | ClientEndpoint): Record<string, unknown> {
  return structuredClone<Record<string, unknown>>(endpoint);
}

/** Every parameter of a server endpoint, in plain words, defaults included. */
export function explainServer(endpoint: ServerEndpoint): Explanation[] {
  switch (endpoint.type) {
    case 'stdio':
      return [{ name: 'type', value: 'stdio', meaning: 'standard input and output, as a single connection' }];
    case 'haproxy': {
      const meaning = 'each connection opens with a PROXY protocol header, which says who the client is';
      return [{ name: 'type', value: 'haproxy', meaning }, ...explainServer(endpoint.endpoint).map(prefixed)];
    }
    default:
      return explainParameters(serverShape(endpoint), endpoint);
  }
}

/** Every parameter of a client endpoint, in plain words, defaults included. */
export function explainClient(endpoint: ClientEndpoint): Explanation[] {
  if (endpoint.type === 'sni') return explainSni(endpoint, printClient);
  const nested = endpoint.type === 'tls' ? endpoint.endpoint : null;
  if (nested === null) return explainParameters(clientShape(endpoint), endpoint);
  const rows = explainParameters(clientShape(endpoint), { ...endpoint, endpoint: nested.type });
  return rows.flatMap((row) => (row.name === 'endpoint' ? [row, ...explainClient(nested).map(prefixed)] : [row]));
}

function prefixed({ name, value, meaning }: Explanation): Explanation {
  return { name: `endpoint.${name}`, value, meaning };
}
