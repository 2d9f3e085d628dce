/** Takes out of an executable what grace does not use. Its code, and so its start, stays what it is. */
import { readFile, writeFile } from 'node:fs/promises';
import { defineAtomics } from './atomics.ts';
import { compactElf } from './elf.ts';
import { trimIcu } from './icu.ts';
import { isMachO, signAdHoc } from './macho.ts';
import { forgetVariables } from './variables.ts';

/**
 * Shrink an executable in place: the data of ICU for languages other than English, and of an ELF
 * file everything that is not loaded, and the need of libatomic.so.1. A Mach-O file keeps its layout, with zeros where the data was,
 * which a compressed download has for nothing; it is signed anew, as any change to it needs.
 */
export async function slimExecutable(file: string): Promise<void> {
  const binary = await readFile(file);
  forgetVariables(binary);
  const free = trimIcu(binary);
  if (!isMachO(binary)) defineAtomics(binary);
  await writeFile(file, isMachO(binary) ? signAdHoc(binary, { identifier: 'grace' }) : compactElf(binary, free));
}
