/**
 * Whoever started this process as a daemon and waits to hear how it goes: a client that launched it
 * in the background, the daemon that it succeeds, or a person or init system (foreground).
 */
import type { Failure } from '../control/messages.ts';
import type { GoMessage, Handover, MoveChannel } from './handover/messages.ts';

/** Whoever started this process as a daemon. */
export type Launcher = {
  kind: 'foreground' | 'client' | 'predecessor';
  /** What the predecessor hands over; null without one. */
  handover: Handover | null;
  /** Something the user must be told. */
  note(text: string): void;
  /** It did not work out; the process is about to end. */
  failed(failure: Failure): void;
  /** Everything is open. Resolves when this process may take the state dir over, with what a predecessor says at that moment. */
  ready(options: {
    version: string;
    canMove: boolean;
    /** Whether connections with TLS can come in this form. */
    takesTls: (format: number) => boolean;
  }): Promise<Partial<GoMessage>>;
  /** Clients reach this process now; unless it is in the foreground, `settleStreams` is called: from here on, or once `moving` is done. */
  serving(options: { settleStreams: () => void }): void;
  /** By which open connections come over; null when they do not. Set by `ready`. */
  moving: MoveChannel | null;
  /** Resolves with whether the predecessor has died, which nobody but a process that waits for it can be sure of. */
  isDead(): Promise<boolean>;
};
