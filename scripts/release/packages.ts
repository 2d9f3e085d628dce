/**
 * Packages for dpkg and rpm: the executable below /usr, the unit for systemd, the file for logrotate, manual page and completions.
 * They are made by Debian's own tools (`dpkg-deb`, `rpmbuild`), and left out where those are not installed.
 */
import { execFile, spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { bashCompletion } from '../../src/cli/completion/bash.ts';
import { fishCompletion } from '../../src/cli/completion/fish.ts';
import { zshCompletion } from '../../src/cli/completion/zsh.ts';
import { manualPage } from '../../src/cli/man-page.ts';
import { unitText } from '../../src/cli/unit-files.ts';

const run = promisify(execFile);

export type Packaging = {
  root: string;
  version: string;
  /** `linux-x64` or `linux-arm64`. */
  machine: string;
  executable: string;
  outdir: string;
  /** Whether to spend seconds on a tenth of the size. */
  isSmall: boolean;
};

const machines: Readonly<Record<string, { deb: string; rpm: string }>> = {
  'linux-x64': { deb: 'amd64', rpm: 'x86_64' },
  'linux-arm64': { deb: 'arm64', rpm: 'aarch64' },
};
const summary = 'port forwarder that restarts without dropping a connection';
const description =
  'Forwards TCP, TLS and Unix sockets; where they lead, the daemon and its version change while connections are open.';
const paths = { executable: '/usr/bin/grace', dir: '/var/lib/grace' };
const confFile = '/etc/logrotate.d/grace';
/** The same bytes whenever a package is made. */
const epoch = 1_700_000_000;

/** After an upgrade a daemon that runs goes on as the new version, with its connections. */
const afterInstall = `if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || :
  if systemctl is-active --quiet grace; then systemctl reload grace || echo 'grace: the running daemon is still the old one; see: systemctl status grace' >&2; fi
fi`;
const beforeRemoval = 'if [ -d /run/systemd/system ]; then systemctl disable --quiet --now grace || :; fi';
const afterRemoval = 'if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi';

/** Write the packages for a machine; returns their files' names. None for a system that has no such packages. */
export async function makePackages(packaging: Packaging): Promise<string[]> {
  const machine = machines[packaging.machine];
  if (!machine) return [];
  const work = await mkdtemp(join(tmpdir(), 'grace-package-'));
  try {
    const tree = join(work, 'tree');
    await writeTree(tree, packaging);
    const made: string[] = [];
    if (has('dpkg-deb')) made.push(await makeDeb(tree, packaging, machine.deb));
    if (has('rpmbuild')) made.push(await makeRpm(tree, work, packaging, machine.rpm));
    return made;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function has(program: string): boolean {
  return !spawnSync(program, ['--version']).error;
}

async function writeTree(tree: string, { root, version, executable }: Packaging): Promise<void> {
  const files: Record<string, string | Buffer> = {
    'usr/lib/systemd/system/grace.service': unitText('systemd', paths),
    [confFile.slice(1)]: unitText('logrotate', paths),
    'usr/share/man/man1/grace.1.gz': gzipSync(manualPage(version), { level: 9 }),
    'usr/share/bash-completion/completions/grace': bashCompletion(),
    'usr/share/zsh/site-functions/_grace': zshCompletion(),
    'usr/share/fish/vendor_completions.d/grace.fish': fishCompletion(),
    'usr/share/doc/grace/copyright': await readFile(join(root, 'LICENSE')),
  };
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(tree, name)), { recursive: true });
    await writeFile(join(tree, name), content, { mode: 0o644 });
  }
  await mkdir(join(tree, 'usr/bin'));
  await copyFile(executable, join(tree, 'usr/bin/grace'));
  await chmod(join(tree, 'usr/bin/grace'), 0o755);
  for (const entry of await readdir(tree, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) await chmod(path, 0o755);
    await utimes(path, epoch, epoch);
  }
}

async function makeDeb(tree: string, { version, outdir, isSmall }: Packaging, architecture: string): Promise<string> {
  const control = join(tree, 'DEBIAN');
  const script = (body: string, condition: string) =>
    `#!/bin/sh\nset -e\nif [ "$1" = ${condition} ]; then\n${body}\nfi\n`;
  const purge = 'rm -rf /var/lib/grace /var/lib/private/grace';
  const files: Record<string, [text: string, mode: number]> = {
    control: [
      [
        'Package: grace',
        `Version: ${version.replaceAll('-', '~')}`,
        `Architecture: ${architecture}`,
        'Maintainer: The developers of grace <grace@localhost>',
        'Depends: libc6 (>= 2.28), libstdc++6 (>= 7), libgcc-s1 | libgcc1',
        'Section: net',
        'Priority: optional',
        `Description: ${summary}`,
        ` ${description}`,
        '',
      ].join('\n'),
      0o644,
    ],
    conffiles: [`${confFile}\n`, 0o644],
    postinst: [script(afterInstall, 'configure'), 0o755],
    prerm: [script(beforeRemoval, 'remove'), 0o755],
    postrm: [`${script(afterRemoval, 'remove')}${script(purge, 'purge').replace('#!/bin/sh\nset -e\n', '')}`, 0o755],
  };
  await mkdir(control);
  for (const [name, [text, mode]] of Object.entries(files)) await writeFile(join(control, name), text, { mode });
  const name = `grace_${version}_${architecture}.deb`;
  const compression = isSmall ? ['-Zxz', '-z6'] : ['-Zgzip', '-z1'];
  await run('dpkg-deb', ['--root-owner-group', ...compression, '--build', tree, join(outdir, name)], {
    env: { ...process.env, SOURCE_DATE_EPOCH: `${epoch}` },
  });
  await rm(control, { recursive: true });
  return name;
}

async function makeRpm(
  tree: string,
  work: string,
  { version, outdir, isSmall }: Packaging,
  architecture: string,
): Promise<string> {
  const entries = await readdir(tree, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join('/', entry.parentPath.slice(tree.length), entry.name))
    .sort();
  const spec = join(work, 'grace.spec');
  await writeFile(
    spec,
    [
      'Name: grace',
      `Version: ${version.replaceAll('-', '~')}`,
      'Release: 1',
      `Summary: ${summary.charAt(0).toUpperCase()}${summary.slice(1)}`,
      'License: MIT',
      'AutoReqProv: no',
      // What is there by these names in every distribution: glibc, libstdc++ of GCC 7, libgcc.
      'Requires: libc.so.6(GLIBC_2.28)(64bit), libstdc++.so.6(CXXABI_1.3.11)(64bit), libgcc_s.so.1(GCC_4.2.0)(64bit)',
      '%description',
      description,
      '%install',
      `cp -a ${tree}/. %{buildroot}/`,
      '%post',
      afterInstall,
      '%preun',
      `if [ "$1" = 0 ]; then\n${beforeRemoval}\nfi`,
      '%postun',
      afterRemoval,
      '%files',
      '%defattr(-,root,root)',
      ...files.map((file) => (file === confFile ? `%config(noreplace) ${file}` : file)),
      '',
    ].join('\n'),
  );
  const settings = {
    _topdir: join(work, 'rpm'),
    _rpmdir: join(work, 'rpm/out'),
    _rpmfilename: '%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm',
    _buildhost: 'grace',
    _dbpath: join(work, 'rpm/db'),
    use_source_date_epoch_as_buildtime: '1',
    clamp_mtime_to_source_date_epoch: '1',
    _binary_payload: isSmall ? 'w6.xzdio' : 'w1.gzdio',
    // The executable is what it is: nothing is stripped or taken apart.
    __os_install_post: '%{nil}',
    debug_package: '%{nil}',
    _build_id_links: 'none',
  };
  const defines = Object.entries(settings).flatMap(([name, value]) => ['--define', `${name} ${value}`]);
  await run('rpmbuild', ['-bb', '--target', `${architecture}-linux`, ...defines, spec], {
    env: { ...process.env, SOURCE_DATE_EPOCH: `${epoch}` },
  });
  const [name] = await readdir(join(work, 'rpm/out'));
  if (name === undefined) throw new Error('rpmbuild made no package');
  await copyFile(join(work, 'rpm/out', name), join(outdir, name));
  return name;
}
