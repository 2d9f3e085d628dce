/** The man page and the completions that install.sh puts beside the executable. */
import { execFile } from 'node:child_process';
import { access, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { describeError } from '../sys/system-error.ts';

const run = promisify(execFile);

/** Below the directory that holds `bin`, and the words that make grace print it. */
const sharedFiles: readonly (readonly [path: string, words: readonly string[]])[] = [
  ['share/man/man1/grace.1', ['man']],
  ['share/bash-completion/completions/grace', ['completion', 'bash']],
  ['share/zsh/site-functions/_grace', ['completion', 'zsh']],
  ['share/fish/vendor_completions.d/grace.fish', ['completion', 'fish']],
];

/** Bring those that are there to the version of the executable. Resolves with a sentence for each that could not be. */
export async function refreshShared(executable: string): Promise<string[]> {
  const problems: string[] = [];
  for (const [path, words] of sharedFiles) {
    const file = join(dirname(dirname(executable)), path);
    try {
      await access(file);
    } catch {
      continue; // not installed
    }
    try {
      const { stdout } = await run(executable, words);
      await writeFile(`${file}.new`, stdout);
      await rename(`${file}.new`, file);
    } catch (error) {
      problems.push(`${file} is still the one of the version before: ${describeError(error)}`);
    }
  }
  return problems;
}
