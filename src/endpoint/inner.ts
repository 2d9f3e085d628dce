import type { BindableServer, ServerEndpoint, StdioServer } from './model.ts';

/** What listens: the endpoint itself, or the one that `haproxy:` wraps. */
export function innerEndpoint(endpoint: ServerEndpoint): BindableServer | StdioServer {
  return endpoint.type === 'haproxy' ? endpoint.endpoint : endpoint;
}
