import { createHash } from 'node:crypto';
import type { SourceSpec } from '../forward/rule.ts';

/**
 * Name of a rule's listener when it is handed on (LISTEN_FDNAMES, the file descriptor store):
 * readable, without a colon, and different for different sources.
 */
export function listenerName({ key }: SourceSpec): string {
  const readable = key.replace(/[^A-Za-z0-9_.-]+/g, '-').slice(0, 80);
  return `${readable}-${createHash('sha256').update(key).digest('hex').slice(0, 8)}`;
}
