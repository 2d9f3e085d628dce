/** The limits that are in force for a rule, for those who ask. */
import { printDuration } from '../../endpoint/duration.ts';
import { directOf, hasTls, innerEndpoint, innermost } from '../../endpoint/inner.ts';
import type { ClientEndpoint, ServerEndpoint } from '../../endpoint/model.ts';
import { formatRate } from '../../endpoint/rate.ts';
import { formatBytes } from '../../endpoint/size.ts';
import { HANDSHAKE_TIMEOUT_MS, PROXY_HEADER_TIMEOUT_MS } from '../../engine/policy.ts';
import type { DestinationSpec } from '../../forward/destination.ts';

/** By the names of their parameters, as people write them; those that hold without having been set included. */
export function limitsInForce(src: ServerEndpoint, dst: DestinationSpec): Record<string, string> {
  const inner = innerEndpoint(src);
  if (inner.type === 'stdio') return {};
  const { maxconn, maxconnPer, ratePer, allow, deny, idle, lifetime, buffer } = inner;
  const hasHeader = src.type === 'haproxy' || inner.proxy !== undefined;
  const handshakeMs = hasTls(inner) ? (inner.handshakeTimeout ?? HANDSHAKE_TIMEOUT_MS) : undefined;
  const limits = {
    maxconn: maxconn?.toString(),
    maxconnPer: maxconnPer?.toString(),
    ratePer: ratePer && formatRate(ratePer),
    allow: allow?.join(),
    deny: deny?.join(),
    idle: idle && printDuration(idle),
    lifetime: lifetime && printDuration(lifetime),
    buffer: buffer && formatBytes(buffer),
    handshakeTimeout: handshakeMs && printDuration(handshakeMs),
    headerTimeout: hasHeader ? printDuration(inner.headerTimeout ?? PROXY_HEADER_TIMEOUT_MS) : undefined,
    userTimeout: 'userTimeout' in inner && inner.userTimeout ? printDuration(inner.userTimeout) : undefined,
    'userTimeout of DST': userTimeoutOf(dst.endpoint),
    timeout: dst.endpoint.type === 'sni' ? undefined : printDuration(dst.endpoint.timeout * 1000),
  };
  return Object.fromEntries(Object.entries(limits).flatMap(([name, value]) => (value ? [[name, value]] : [])));
}

function userTimeoutOf(endpoint: ClientEndpoint): string | undefined {
  const [inner, ...others] = directOf(endpoint).map(innermost);
  // Each of several has its own.
  if (inner === undefined || others.length > 0) return undefined;
  return inner.type === 'unix' || inner.userTimeout === undefined ? undefined : printDuration(inner.userTimeout);
}
