/**
 * A number in a file, for whoever moves an address to the machine that serves (keepalived's `vrrp_track_file`): 50 while
 * every rule is served, 0 while one is not or the daemon is about to stop. It stays over restarts, and is gone when
 * the daemon is.
 */
import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { settleMs, unservedRules } from '../rules/unserved.ts';
import type { Service } from '../service.ts';
import { replaceFile } from './replace-file.ts';

const READY = 50;
const NOT_READY = 0;

type Readied = Pick<Service, 'paths' | 'troubles' | 'forwarder' | 'listeners' | 'lifecycle' | 'changes'>;

/** Keep the file up to date for as long as this process serves. */
export async function followReadiness(service: Readied): Promise<void> {
  const { lifecycle, changes } = service;
  let written: number | null = null;
  while (lifecycle.isServing) {
    const value = !lifecycle.isAnnounced && unservedRules(service).length === 0 ? READY : NOT_READY;
    if (value !== written) writeReadiness(service, (written = value));
    await changes.next();
    await delay(settleMs, undefined, { ref: false });
  }
}

/** The daemon is about to stop. */
export function announceEnd(service: Pick<Service, 'paths' | 'troubles' | 'lifecycle'>): void {
  service.lifecycle.announce();
  writeReadiness(service, NOT_READY);
}

function writeReadiness({ paths, troubles }: Pick<Service, 'paths' | 'troubles'>, value: number): void {
  troubles.attemptUntilDone('the file "ready" cannot be written', () => replaceFile(paths.ready, `${value}\n`));
}

/** There is nobody left to serve. */
export function removeReadiness({ ready }: Service['paths']): void {
  rmSync(ready, { force: true });
}
