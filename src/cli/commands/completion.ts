import { bashCompletion } from '../completion/bash.ts';
import { fishCompletion } from '../completion/fish.ts';
import { zshCompletion } from '../completion/zsh.ts';
import { argument } from '../context.ts';
import type { Context, Input } from '../context.ts';

/** `grace completion bash|zsh|fish` */
export function run({ stdout }: Context, input: Input): number {
  const scripts: Record<string, () => string> = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };
  stdout.write(scripts[argument(input, 0)]!());
  return 0;
}
