import { toJsonSchema } from '@valibot/to-json-schema';
import type { Context } from '../context.ts';
import { rulesFileSchema } from '../rules-file.ts';

/** `grace schema`: the JSON schema of the file for `grace apply`. */
export function run({ stdout }: Context): number {
  // What cannot be said in JSON schema, that a name is none of an endpoint's types, is left out.
  const schema = { ...toJsonSchema(rulesFileSchema, { errorMode: 'ignore' }), title: 'Rules of grace' };
  stdout.write(`${JSON.stringify(schema, null, 2)}\n`);
  return 0;
}
