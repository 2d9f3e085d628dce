import * as v from 'valibot';
import { GraceError, errorMessage } from '../error.ts';
import { endpointText } from './shapes.ts';
import type { EndpointText } from './shapes.ts';

/** A rule that the command line of a daemon names. */
export type GivenRule = { src: EndpointText; dst: EndpointText };

/** Variable that tells the first daemon of a keeper which rules the command line names: JSON, an array of {@link GivenRule}. */
const rulesVariable = 'GRACE_GIVEN_RULES';

/** For the processes of this daemon, and in place of what its own parent may have left there. */
export function giveRules(env: NodeJS.ProcessEnv, rules: readonly GivenRule[]): void {
  if (rules.length === 0) delete env[rulesVariable];
  else env[rulesVariable] = JSON.stringify(rules);
}

/** The rules that were given; none without them. Throws GraceError for what are none. */
export function readGivenRules(env: NodeJS.ProcessEnv): GivenRule[] {
  const text = env[rulesVariable];
  if (text === undefined) return [];
  try {
    return v.parse(v.array(v.object({ src: endpointText, dst: endpointText })), JSON.parse(text));
  } catch (error) {
    throw new GraceError(`cannot read the rules in ${rulesVariable}: ${errorMessage(error)}`, {
      hint: 'it is for processes of grace alone: unset it',
    });
  }
}
