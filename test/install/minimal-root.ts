/** Root directories with next to nothing in them, made of files of this machine's Debian packages. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** What `debootstrap --variant=minbase` has of programs and libraries that anything of grace or install.sh could touch. */
const minbase = [
  'base-files',
  'base-passwd',
  'bash',
  'coreutils',
  'dash',
  'debianutils',
  'diffutils',
  'dpkg',
  'findutils',
  'grep',
  'gzip',
  'hostname',
  'libc-bin',
  'mawk',
  'ncurses-bin',
  'perl-base',
  'sed',
  'tar',
  'util-linux',
  'libstdc++6',
];

/** Why there can be no such root here, or false. */
export function noRoot(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return 'it takes root on Linux to change the root directory';
  if (spawnSync('dpkg-query', ['--version']).error)
    return 'the files of a minimal system come from packages of Debian, which are not here';
  if (spawnSync('unshare', ['--mount', '--pid', '--fork', 'true']).status !== 0)
    return 'no namespaces can be made here';
  return false;
}

export type Outcome = { status: number | null; stdout: string; stderr: string };

export type Root = {
  directory: string;
  /** Run a shell script in it, with a view of mounts and processes of its own. */
  run(script: string, ...args: string[]): Promise<Outcome>;
};

/** A Debian with what minbase has, and what those packages depend on. */
export function makeDebianRoot(t: TestContext): Promise<Root> {
  const directory = emptyRoot(t);
  const installed = withDependencies(minbase);
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(directory, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(directory, name));
  }
  const files = installed.flatMap((name) => execFileSync('dpkg-query', ['-L', name], { encoding: 'utf8' }).split('\n'));
  const wanted = [...new Set(files)].filter(
    (file) =>
      file.startsWith('/') && !/^\/usr\/share\/(doc|man|locale|info|lintian|bug)|^\/\.$/.test(file) && existsSync(file),
  );
  execFileSync('tar', ['-C', '/', '--no-recursion', '-cf', join(directory, 'files.tar'), '-T', '-'], {
    input: wanted.map((file) => file.slice(1)).join('\n'),
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  execFileSync('tar', ['-C', directory, '--keep-directory-symlink', '-xf', join(directory, 'files.tar')]);
  rmSync(join(directory, 'files.tar'));
  for (const name of ['passwd', 'group'])
    copyFileSync(join(directory, `usr/share/base-passwd/${name}.master`), join(directory, 'etc', name));
  if (!existsSync(join(directory, 'bin/sh'))) symlinkSync('dash', join(directory, 'bin/sh'));
  if (!existsSync(join(directory, 'usr/bin/awk'))) symlinkSync('mawk', join(directory, 'usr/bin/awk'));
  return openRoot(directory, ['ldconfig']);
}

/** BusyBox and musl, as Alpine has them; null where Debian's musl and busybox-static are not installed. */
export function makeMuslRoot(t: TestContext): Promise<Root> | null {
  const loader = process.arch === 'arm64' ? 'ld-musl-aarch64.so.1' : 'ld-musl-x86_64.so.1';
  const library = process.arch === 'arm64' ? '/lib/aarch64-linux-musl/libc.so' : '/lib/x86_64-linux-musl/libc.so';
  if (!existsSync(library) || spawnSync('busybox', ['--list']).error) return null;
  const directory = emptyRoot(t);
  for (const name of ['bin', 'lib', 'usr/local/bin', 'usr/bin', 'sbin'])
    mkdirSync(join(directory, name), { recursive: true });
  copyFileSync(library, join(directory, 'lib', loader));
  copyFileSync(execFileSync('which', ['busybox'], { encoding: 'utf8' }).trim(), join(directory, 'bin/busybox'));
  writeFileSync(join(directory, 'etc/alpine-release'), '3.22.0\n');
  symlinkSync('busybox', join(directory, 'bin/sh'));
  return openRoot(directory, ['/bin/busybox', '--install', '-s', '/bin']);
}

/** Neither minbase nor a slim image has curl or wget: somebody has put one there. */
export function addDownloader({ directory }: Root): void {
  mkdirSync(join(directory, 'usr/local/bin'), { recursive: true });
  writeFileSync(
    join(directory, 'usr/local/bin/wget'),
    `#!/bin/bash
# wget -q [options] -O FILE URL, of http alone
url=\${@: -1} file=\${@: -2:1}
host=\${url#http://} path=/\${host#*/} host=\${host%%/*}
exec 3<>"/dev/tcp/\${host%:*}/\${host##*:}"
printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$path" >&3
IFS= read -r status <&3
while IFS= read -r line <&3 && [ "$line" != $'\\r' ]; do :; done
case $status in *" 200 "*) cat <&3 >"$file" ;; *) exit 1 ;; esac
`,
  );
  chmodSync(join(directory, 'usr/local/bin/wget'), 0o755);
}

function emptyRoot(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'grace-root-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  for (const name of ['dev', 'etc', 'proc', 'root', 'tmp', 'run', 'var/lib'])
    mkdirSync(join(directory, name), { recursive: true });
  return directory;
}

const enter = `mount -t proc proc "$1/proc" && for device in null zero urandom; do : >"$1/dev/$device"; mount --bind "/dev/$device" "$1/dev/$device"; done
exec chroot "$@"`;

async function openRoot(directory: string, prepare: readonly string[]): Promise<Root> {
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' };
  const enterAndRun = (words: readonly string[]): Promise<Outcome> =>
    new Promise((resolve) => {
      const child = execFile(
        'unshare',
        ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', enter, 'sh', directory, ...words],
        { env, timeout: 60_000, killSignal: 'SIGKILL' },
        (_, stdout, stderr) => resolve({ status: child.exitCode, stdout, stderr }),
      );
    });
  await enterAndRun(prepare);
  return { directory, run: (script, ...args) => enterAndRun(['/bin/sh', '-c', script, 'sh', ...args]) };
}

/** Names of installed packages, with all that they depend on. */
function withDependencies(names: readonly string[]): string[] {
  const known = new Map<string, string[]>();
  const list = execFileSync('dpkg-query', ['-W', '-f=${Package}\t${Provides}\t${Pre-Depends}, ${Depends}\n'], {
    encoding: 'utf8',
  });
  const providers = new Map<string, string>();
  const plain = (word: string) => word.trim().replace(/[ :(].*/, '');
  for (const line of list.trim().split('\n')) {
    const [name = '', provides = '', depends = ''] = line.split('\t');
    known.set(name, depends.split(/[,|]/).map(plain));
    for (const word of provides.split(',').map(plain)) providers.set(word, name);
  }
  const found = new Set<string>();
  const add = (word: string): void => {
    const name = known.has(word) ? word : providers.get(word);
    // Packages that ask questions bring more than a library would need.
    if (
      name === undefined ||
      found.has(name) ||
      /^(debconf|perl|python3?|systemd|init-system-helpers|tzdata|adduser)$/.test(name)
    )
      return;
    found.add(name);
    known.get(name)!.forEach(add);
  };
  names.forEach(add);
  return [...found];
}
