/** Whom a destination has to do with, where nobody else says so. */
import { peerName, socketName } from '../../sys/socket.ts';
import type { PreludeSubject } from '../prelude.ts';

/** By the system's word. */
export function systemSubject(client: number): PreludeSubject {
  try {
    const [from, at] = [peerName(client), socketName(client)];
    return from.family === 'unix' || at.family === 'unix' ? 'unknown' : { client: from, accepted: at };
  } catch {
    return 'unknown'; // it has just gone
  }
}
