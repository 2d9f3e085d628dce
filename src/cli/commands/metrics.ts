import { call } from '../../control/client.ts';
import type { Context } from '../context.ts';

/** `grace metrics` */
export async function run({ dir, signal, stdout }: Context): Promise<number> {
  let text = '';
  await call(dir, { command: 'metrics' }, { signal, onProgress: (piece) => void (text += piece.text) });
  stdout.write(text);
  return 0;
}
