/** Takes out of an executable what grace does not use. Its code, and so its start, stays what it is. */
import { readFile, writeFile } from 'node:fs/promises';
import { compactElf } from './elf.ts';
import { trimIcu } from './icu.ts';
import { isMachO, signAdHoc } from './macho.ts';
import { hideSource } from './source-path.ts';
import { forgetVariables } from './variables.ts';

/**
 * Shrink an executable in place: the data of ICU for languages other than English, and of an ELF
 * file everything that is not loaded. A Mach-O file keeps its layout, with zeros where the data was,
 * which a compressed download has for nothing; it is signed anew, as any change to it needs.
 * `source` is where the bundle was taken from, which the executable then does not tell any more.
 */
export async function slimExecutable(file: string, { source }: { source: string }): Promise<void> {
  const binary = await readFile(file);
  hideSource(binary, source);
  forgetVariables(binary);
  const free = trimIcu(binary);
  await writeFile(file, isMachO(binary) ? signAdHoc(binary, { identifier: 'grace' }) : compactElf(binary, free));
}
