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

/** The rules that were given; none without them. */
export function readGivenRules(env: NodeJS.ProcessEnv): GivenRule[] {
  const text = env[rulesVariable];
  return text === undefined ? [] : JSON.parse(text);
}
