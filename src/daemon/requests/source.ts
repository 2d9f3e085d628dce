/** Which rule a request speaks of. */
import { isRuleName } from '../../control/rule-name.ts';
import type { EndpointText } from '../../control/shapes.ts';
import { isNotForwarded } from '../../kinds.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { readSource } from '../rules/specs.ts';
import type { Service } from '../service.ts';
import { allRows } from './rows.ts';

/** The source that is meant, by its endpoint or by the name of its rule. Throws GraceError (exit code 4) when there is no such rule. */
export function sourceIn({ forwarder }: Service, text: EndpointText): SourceSpec {
  return isRuleName(text.absolute) ? forwarder.named(text.absolute) : forwarder.find(readSource(text));
}

/** The same; null when there is no such rule. */
export function sourceIfAny(service: Service, text: EndpointText): SourceSpec | null {
  try {
    return sourceIn(service, text);
  } catch (error) {
    if (isNotForwarded(error)) return null;
    throw error;
  }
}

/** A rule that has just been stopped can be waited for too, while connections of it are left. */
export function keyOfAny(service: Service, text: EndpointText): string {
  if (isRuleName(text.absolute)) return service.forwarder.named(text.absolute).key;
  const src = readSource(text);
  if (allRows(service, src.key).length > 0) return src.key;
  return service.forwarder.find(src).key;
}
