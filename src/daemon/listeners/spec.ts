/** What the source of a rule says of its listener. */
import { innerEndpoint } from '../../endpoint/inner.ts';
import type { BindableServer, ServerEndpoint } from '../../endpoint/model.ts';
import { GraceError } from '../../error.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import type { ListenerAddress } from '../../net/listener.ts';
import type { ListenSpec } from '../../net/open.ts';

/** Whether a listener is where this source wants one. */
export function isAt(address: ListenerAddress, spec: ListenSpec): boolean {
  if (spec.kind === 'unix') return address.family === 'unix' && address.path === spec.path;
  if (address.family === 'unix') return false;
  return (
    spec.port !== 0 &&
    address.port === spec.port &&
    (address.host === spec.host || (spec.host === '' && ['0.0.0.0', '::'].includes(address.host)))
  );
}

/** The endpoint that is listened on, within those that wrap it. Throws GraceError for one that no daemon can listen on. */
export function plain(endpoint: ServerEndpoint): BindableServer {
  const inner = innerEndpoint(endpoint);
  if (inner.type === 'stdio') throw new GraceError('stdio: cannot be the source of a rule');
  return inner;
}

/** Whether the system is to choose the port (`port 0`). */
export function isPortChosen(endpoint: ServerEndpoint): boolean {
  const inner = innerEndpoint(endpoint);
  return 'port' in inner && inner.port === 0;
}

/** Milliseconds in which clients must acknowledge what they are sent; 0: the system's time. */
export function userTimeoutOf({ endpoint }: SourceSpec): number {
  const inner = plain(endpoint);
  return 'userTimeout' in inner ? (inner.userTimeout ?? 0) : 0;
}

/** How such an endpoint is opened. */
export function listenSpec(endpoint: Exclude<BindableServer, { type: 'systemd' | 'fd' }>): ListenSpec {
  if (endpoint.type === 'unix') {
    const { address: path, mode, backlog, lockfile } = endpoint;
    return { kind: 'unix', path, mode: Number.parseInt(mode, 8), backlog, lockfile };
  }
  const { type, interface: host, port, backlog, freebind } = endpoint;
  if (type === 'tcp6') return { kind: 'tcp', host, port, backlog, freebind, family: 'inet6' };
  return {
    kind: 'tcp',
    host,
    port,
    backlog,
    freebind,
    ...(type === 'tls' || host.includes(':') ? {} : { family: 'inet' as const }),
  };
}
