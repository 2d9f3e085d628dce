/** The files of scripts/init, which are the source of what `grace unit` prints. The build puts them into the executable. */
import { readFileSync } from 'node:fs';
import type { unitKinds } from '../control/commands/program.ts';
import { GraceError } from '../error.ts';

/** Set by the build: text by the name in scripts/init. */
declare const GRACE_INIT_FILES: Readonly<Record<string, string>> | undefined;

/** An init system, or a part of one. */
export type UnitKind = (typeof unitKinds)[number];

/** Which file is for which init system or tool. */
export const unitFiles = {
  systemd: 'grace.service',
  socket: 'grace.socket',
  sysv: 'grace.sysv',
  openrc: 'grace.openrc',
  runit: 'runit/run',
  supervisord: 'grace.supervisord.conf',
  logrotate: 'grace.logrotate',
} as const satisfies Record<UnitKind, string>;

/** The paths that the files have as they are. */
export const defaultPaths: UnitPaths = { executable: '/usr/local/bin/grace', dir: '/var/lib/grace' };

/** What a unit is about; paths are absolute, and there is nothing that a file would have to quote. */
export type UnitPaths = { executable: string; dir: string };

/** The user whom a service runs as that a group may command under systemd: that group must not come to be root. */
const serviceUser = 'grace';

/** The file for an init system, with these paths in, and with the group that may command the daemon. Throws GraceError for a file that starts none. */
export function unitText(kind: UnitKind, { executable, dir }: UnitPaths, socketGroup: string | null = null): string {
  const text = fileText(unitFiles[kind]);
  const placed = kind === 'systemd' ? placeStateDirectory(text, dir) : text;
  const shared = socketGroup === null ? placed : share(kind, placed, socketGroup);
  return shared.replaceAll(defaultPaths.executable, executable).replaceAll(defaultPaths.dir, dir);
}

function share(kind: UnitKind, text: string, group: string): string {
  const option = `--socket-group ${group}`;
  switch (kind) {
    case 'systemd':
      // What systemd makes for a user that it makes up lies below a directory that is closed to everybody else.
      return text
        .replace(/^(ExecStart=.* daemon)$/m, `$1 ${option}`)
        .replace(
          /^(User|DynamicUser)=.*$/m,
          `# Made once: groupadd --system ${group}; useradd --system --user-group --no-create-home ${serviceUser}\nDynamicUser=no\nUser=${serviceUser}\nSupplementaryGroups=${group}`,
        );
    case 'sysv':
      return text.replace(/^GRACE_ARGS= +/m, `GRACE_ARGS='${option}' `);
    case 'openrc':
      return text.replace(/^command=/m, `: "\${command_args_extra:=${option}}"\n\n$&`);
    case 'runit':
    case 'supervisord':
      return text.replace(/^((?:exec |command=).* daemon)$/m, `$1 ${option}`);
    case 'socket':
    case 'logrotate':
      throw new GraceError(`--socket-group is for a file that starts the daemon, and that for ${kind} does not`, {
        code: 'ERR_GRACE_USAGE',
      });
  }
}

function fileText(name: string): string {
  if (typeof GRACE_INIT_FILES !== 'undefined') return GRACE_INIT_FILES[name]!;
  return readFileSync(new URL(`../../scripts/init/${name}`, import.meta.url), 'utf8');
}

/**
 * systemd makes a state dir below /var/lib, for a user that it makes up (systemd.exec(5)). Any other is there
 * already, is root's, and has to be told of.
 */
function placeStateDirectory(text: string, dir: string): string {
  const below = /^\/var\/lib\/(.+)$/.exec(dir)?.[1];
  if (below !== undefined) return text.replace(/^StateDirectory=.*$/m, `StateDirectory=${below}`);
  return text
    .replace(/^StateDirectoryMode=.*\n/m, '')
    .replace(/^StateDirectory=.*$/m, `ReadWritePaths=${dir}`)
    .replace(/^DynamicUser=.*$/m, 'User=root');
}
