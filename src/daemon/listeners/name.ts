import { hash } from 'node:crypto';
import type { SourceSpec } from '../../forward/rule.ts';

/**
 * Name of a rule's listener when it is handed on (LISTEN_FDNAMES, the file descriptor store):
 * readable, without a colon, and different for different sources.
 */
export function listenerName({ key }: SourceSpec): string {
  const readable = key.replace(/[^A-Za-z0-9_.-]+/g, '-').slice(0, 80);
  return `${readable}-${hash('sha256', key, 'hex').slice(0, 8)}`;
}

/** Whether a name may be one that {@link listenerName} made, and not one that an administrator gave. */
export function isListenerName(name: string): boolean {
  return /^[A-Za-z0-9_.-]{1,80}-[0-9a-f]{8}$/.test(name);
}
