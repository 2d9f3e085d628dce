import type { Context } from '../context.ts';
import { manualPage } from '../man-page.ts';

/** `grace man`: the manual page, in the macros of man(7). */
export function run({ stdout, version }: Context): number {
  stdout.write(manualPage(version));
  return 0;
}
