import { directOf, innerEndpoint, innermost } from './inner.ts';
import type { ClientEndpoint, DirectClient, ServerEndpoint } from './model.ts';

/** A rule as far as it matters here. */
type Leading = { src: ServerEndpoint; dsts: readonly ClientEndpoint[] };

/** Any Unix socket: a link may lead from one path to another. */
const anyPath = 'unix';

/** What of a place is known without a look at it: the port, or that it is a Unix socket; null: nothing. */
type Mark = number | typeof anyPath | null;

/**
 * Which of these rules may be part of a circle: those that lead to the port, or the kind of socket, on which one of
 * them listens. It takes one pass however many there are, and most rules are none of these.
 */
export function suspectsAmong(rules: readonly Leading[]): (rule: Leading) => boolean {
  const listening = new Set(rules.map(markOfSource));
  return ({ dsts }) =>
    listening.has(null) ||
    dsts.some((endpoint) => directOf(endpoint).some((each) => listening.has(markOfTarget(innermost(each)))));
}

function markOfSource({ src }: Leading): Mark {
  const endpoint = innerEndpoint(src);
  if (endpoint.type === 'unix') return anyPath;
  // The port of an inherited socket, or of one that the system chooses, is known when it is open.
  return 'port' in endpoint && endpoint.port !== 0 ? endpoint.port : null;
}

function markOfTarget(endpoint: DirectClient): Mark {
  if (endpoint.type === 'unix') return anyPath;
  return endpoint.type === 'srv' ? null : endpoint.port;
}
