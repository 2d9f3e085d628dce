/** Completions in the real shells, where they are installed. The program is a script that answers `ls`. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { commands } from '../../src/control/commands.ts';
import { openTempDir, runWords } from './run-cli.ts';

const timeout = 60_000;
const sources = ['tcp:8080', 'tcp:8081:interface=127.0.0.1', 'unix:/run/app.sock'];

type Shell = 'bash' | 'zsh' | 'fish';

/** What completing a line gives, in a directory that holds `state/` and `file.txt`. */
type Complete = (line: string) => string[];

async function openShell(t: TestContext, shell: Shell): Promise<Complete | null> {
  if (spawnSync(shell, ['-c', 'exit 0']).status !== 0) {
    t.skip(`${shell} is not installed`);
    return null;
  }
  const temp = openTempDir();
  t.after(() => temp[Symbol.dispose]());
  const dir = temp.path;
  const rows = sources.map((src) => `${src}  tcp:127.0.0.1:9001  0  active`).join('\n');
  // As the program does: rules for the state dir "state", none for others.
  writeFileSync(
    join(dir, 'grace'),
    `#!/bin/sh\ncase "$*" in *"-d state ls"* | ls) printf '%s\\n' 'src  dst  connections  status' '${rows.replaceAll('\n', "' '")}' ;; esac\n`,
  );
  chmodSync(join(dir, 'grace'), 0o755);
  mkdirSync(join(dir, 'state'));
  mkdirSync(join(dir, 'completions'));
  writeFileSync(join(dir, 'file.txt'), '');
  const { stdout, exitCode } = await runWords(['completion', shell]);
  assert.equal(exitCode, 0);
  const script = join(dir, 'completions', shell === 'zsh' ? '_grace' : `grace.${shell}`);
  writeFileSync(script, stdout);
  const env = { ...process.env, PATH: `${dir}:${process.env['PATH']}`, HOME: dir, TERM: 'dumb' };
  return (line) => {
    const output = execFileSync(shell, shellArguments[shell](script, line), {
      cwd: dir,
      env,
      encoding: 'utf8',
      timeout: 60_000,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = output.replaceAll('\r', '').split('\n');
    // fish says what a word is for behind a tab; of zsh's terminal only what the inner one printed counts.
    const words =
      shell === 'zsh'
        ? lines.flatMap((each) => each.split('HIT:').slice(1))
        : lines.map((each) => each.split('\t')[0]!);
    return [...new Set(words.map((each) => each.trim()))].filter((each) => each !== '').sort();
  };
}

const shellArguments: Record<Shell, (script: string, line: string) => string[]> = {
  // As readline calls the function: the words broken at the characters of COMP_WORDBREAKS.
  bash: (script, line) => [
    '--norc',
    '-c',
    `source "$1"; COMP_LINE=$2 COMP_POINT=\${#2} COMP_WORDS=(grace) COMP_CWORD=0; _grace; printf '%s\\n' "\${COMPREPLY[@]}"`,
    'bash',
    script,
    line,
  ],
  fish: (script, line) => ['--no-config', '-c', `source $argv[1]; complete -C $argv[2]`, script, line],
  // zsh completes only on a terminal, so one is opened in it; the candidates are what compadd is given.
  zsh: (script, line) => ['-f', '-c', zshDriver, 'zsh', script.replace(/\/[^/]*$/, ''), line],
};

const zshDriver = `
zmodload zsh/zpty
cat >$1/inner.zsh <<'END'
PROMPT=
unsetopt zle_bracketed_paste
fpath=(\${0:A:h} $fpath)
autoload -U compinit
compinit -u -d \${0:A:h}/dump
compadd () {
  # Not a call that only fills an array for the caller.
  if [[ \${@[1,(i)(-|--)]} != *-(O|A|D)\\ * ]]; then
    local -a __hits
    builtin compadd -A __hits "$@"
    (( $#__hits )) && print -rl -- HIT:$^__hits
  fi
  builtin compadd "$@"
}
finish () { print -r -- FINISHED; exit }
comppostfuncs=(finish)
bindkey '^I' complete-word
print -r -- READY
END
zpty z zsh -f -i
zpty -w z "source $1/inner.zsh"
zpty -r z out '*READY*'
zpty -w -n z "$2"$'\t'
zpty -r z out '*FINISHED*'
print -r -- $out
`;

for (const shell of ['bash', 'zsh', 'fish'] as const) {
  test(`${shell} completes commands, options, choices, files and the sources of rules`, { timeout }, async (t) => {
    const complete = await openShell(t, shell);
    if (!complete) return;
    /** What is offered instead of the last word; bash wants only what comes after the last colon. */
    const offered = (line: string): string[] => {
      const word = line.split(' ').at(-1)!;
      const kept = shell === 'bash' ? word.slice(0, word.lastIndexOf(':') + 1) : '';
      return complete(line).map((each) => (kept + each).replace(/\/$/, ''));
    };
    const names = commands.flatMap(({ name, aliases }) => [name, ...aliases]);
    assert.deepEqual(offered('grace '), [...names].sort());
    assert.deepEqual(offered('grace sw'), ['switch']);
    assert.deepEqual(offered('grace completion '), ['bash', 'fish', 'zsh']);
    assert.deepEqual(offered('grace daemon --engine '), ['auto', 'native', 'portable']);
    assert.ok(offered('grace switch --no').includes('--no-check'));
    assert.deepEqual(offered('grace -d st'), ['state']);
    assert.deepEqual(offered('grace restart --exec fi'), ['file.txt']);
    assert.deepEqual(offered('grace switch '), sources);
    assert.deepEqual(offered('grace -d state stop tcp:80'), sources.slice(0, 2));
    assert.deepEqual(offered('grace -d state stop tcp:8081:i'), [sources[1]]);
    assert.deepEqual(offered('grace -d completions w tcp:'), []);
    assert.deepEqual(offered('grace start tcp:'), []);
  });
}
