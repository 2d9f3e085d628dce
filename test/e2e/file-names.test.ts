/** To the system a file name is bytes: what is not UTF-8 in one is no obstacle. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { makeGrace, program, runtime } from './grace.ts';

const timeout = 120_000;
const skip = runtime === 'executable' && process.platform === 'linux' ? false : 'the executable on Linux';

/** Runs in a directory `mün` of ISO 8859-1; "$@" is grace with its state dir. */
const script = String.raw`
set -e
d=$T/$(printf 'm\374n'); mkdir "$d"; cd "$d"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout k -out c 2>/dev/null
"$@" endpoint server "ssl:0:privateKey=$d/k:certKey=$d/c" >/dev/null && echo absolute
"$@" start "ssl:0:interface=127.0.0.1:privateKey=k:certKey=c" tcp:127.0.0.1:9
"$@" start "unix:$d/s" tcp:127.0.0.1:9
[ -S "$d/s" ] && echo socket
"$@" restart >/dev/null
"$@" ls --json | grep -o '"active": *true' | wc -l
"$@" stop "unix:s" >/dev/null
[ ! -e "$d/s" ] && echo removed
HOME=$d GRACE_DIR= "$1" start tcp:0 tcp:127.0.0.1:9 2>&1 || true
`;

test('keys, Unix sources and the working directory may have names that are not UTF-8', { timeout, skip }, async (t) => {
  const grace = makeGrace(t);
  const child = spawn(
    'bash',
    ['-c', `T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; ${script}`, 'bash', ...program, '-d', grace.dir],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')]);
  assert.match(
    output,
    /^absolute\nStarted\nStarted\nsocket\n2\nremoved\ngrace: cannot use the state dir .*: its name is not UTF-8\nhint: choose another with -d DIR\n$/,
  );
});
