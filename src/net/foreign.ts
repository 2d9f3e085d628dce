import type { Environment } from './inherit.ts';

/** Indexes of the passed sockets whose files an init system made and removes. */
const VARIABLE = 'GRACE_FOREIGN_FDS';

/** Which of the passed sockets a predecessor had from an init system, counted from 0. The variable is removed. */
export function takeForeign(env: Environment): readonly number[] {
  const foreign = env[VARIABLE]?.match(/[0-9]+/g)?.map(Number) ?? [];
  delete env[VARIABLE];
  return foreign;
}

/** The environment variable by which a successor knows them. */
export function foreignVariable(indexes: readonly number[]): Record<string, string> {
  return { [VARIABLE]: indexes.join(',') };
}
