import type { EndpointText } from '../../control/shapes.ts';
import { parseClient } from '../../endpoint/client.ts';
import { clientKey, listenKey, serverKey } from '../../endpoint/identity.ts';
import { parseServer } from '../../endpoint/server.ts';
import type { DestinationSpec } from '../../forward/destination.ts';
import type { RoutingSpec } from '../../forward/routing.ts';
import type { RuleSpec, SourceSpec } from '../../forward/rule.ts';
import type { StoredRule } from '../state/rules-file.ts';
import { GraceError } from '../../error.ts';

/** What the text of a source means. Throws EndpointError, and GraceError for one that a daemon cannot serve. */
export function readSource({ typed, absolute, name }: EndpointText): SourceSpec {
  const endpoint = parseServer(absolute);
  if (endpoint.type === 'stdio') {
    throw new GraceError(
      'stdio: cannot be the source of a rule: a daemon has no standard input and output of its own',
      { code: 'ERR_GRACE_ENDPOINT' },
    );
  }
  return {
    typed,
    absolute,
    key: serverKey(endpoint),
    listenKey: listenKey(endpoint),
    endpoint,
    ...(name === undefined ? {} : { name }),
  };
}

/** What the text of a destination means. Throws EndpointError. */
export function readTarget({ typed, absolute }: EndpointText): DestinationSpec {
  const endpoint = parseClient(absolute);
  return { typed, absolute, key: clientKey(endpoint), endpoint };
}

/** What the texts of a rule mean. Throws as {@link readSource} and {@link readTarget}. */
export function readRule({ src, ...routing }: Pick<StoredRule, 'src' | 'dst' | 'share'>): RuleSpec {
  return { src: readSource(src), ...readRouting(routing) };
}

/** What the texts of where a rule goes mean. Throws as {@link readTarget}. */
export function readRouting({ dst, share }: Pick<StoredRule, 'dst' | 'share'>): RoutingSpec {
  return {
    dst: readTarget(dst),
    ...(share && { share: { dst: readTarget(share.dst), percent: share.percent, secret: share.secret } }),
  };
}

/** The texts of where a rule goes, as they are stored and handed over. */
export function textOfRouting({ dst, share }: RoutingSpec): Pick<StoredRule, 'dst' | 'share'> {
  return { dst: textOf(dst), ...(share && { share: { ...share, dst: textOf(share.dst) } }) };
}

/** The text of an endpoint, as it is stored and handed over. */
export function textOf({ typed, absolute, name }: EndpointText): EndpointText {
  return { typed, absolute, ...(name === undefined ? {} : { name }) };
}
