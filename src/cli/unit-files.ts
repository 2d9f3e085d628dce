/** The files of scripts/init, which are the source of what `grace unit` prints. The build puts them into the executable. */
import { readFileSync } from 'node:fs';

/** Set by the build: text by the name in scripts/init. */
declare const GRACE_INIT_FILES: Readonly<Record<string, string>> | undefined;

/** Which file is for which init system or tool. */
export const unitFiles = {
  systemd: 'grace.service',
  socket: 'grace.socket',
  sysv: 'grace.sysv',
  openrc: 'grace.openrc',
  runit: 'runit/run',
  supervisord: 'grace.supervisord.conf',
  logrotate: 'grace.logrotate',
} as const;

/** An init system, or a part of one. */
export type UnitKind = keyof typeof unitFiles;

/** Every kind, in the order of the help. */
export const unitKinds = Object.keys(unitFiles) as readonly UnitKind[];

/** The paths that the files have as they are. */
export const defaultPaths: UnitPaths = { executable: '/usr/local/bin/grace', dir: '/var/lib/grace' };

/** What a unit is about; both absolute, and nothing in them that a file would have to quote. */
export type UnitPaths = { executable: string; dir: string };

/** The file for an init system, with these paths in. */
export function unitText(kind: UnitKind, { executable, dir }: UnitPaths): string {
  const text = fileText(unitFiles[kind]);
  const placed = kind === 'systemd' ? placeStateDirectory(text, dir) : text;
  return placed.replaceAll(defaultPaths.executable, executable).replaceAll(defaultPaths.dir, dir);
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
  return text.replace(/^StateDirectoryMode=.*\n/m, '').replace(/^StateDirectory=.*$/m, `ReadWritePaths=${dir}`).replace(/^DynamicUser=.*$/m, 'User=root');
}
