import { call } from '../../control/client.ts';
import type { Context } from '../context.ts';
import { printRulesFile } from '../rules-file.ts';

/** `grace export` */
export async function run({ dir, signal, stdout }: Context): Promise<number> {
  const { rules } = await call(dir, { command: 'export' }, { signal });
  stdout.write(printRulesFile(rules));
  return 0;
}
