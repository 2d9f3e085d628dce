import { Channel } from './channel.ts';
import type { ChannelEnd } from './channel.ts';
import type { DaemonIdentity, DaemonMessage, KeeperMessage } from './messages.ts';

/**
 * What a daemon is: `starting` until it says that it serves; `restarting` when another one has said so after
 * it, and when it has just got this keeper, until it says whether it is `replaced` or serves (again).
 */
export type GenerationPhase = 'starting' | 'serving' | 'restarting' | 'replaced';

/** A daemon that lives. */
export type Generation = {
  channel: Channel<KeeperMessage, DaemonMessage>;
  pid: number | null;
  phase: GenerationPhase;
  /** The exit code that it announced. */
  ended: number | null;
  /** The pid of the daemon that it has told to take over. */
  successor?: number | null;
  stop?: ((times: number) => void) | undefined;
  /** It was not started for want of something. */
  shortage?: unknown;
  /** It has said a word. */
  hasSpoken?: boolean;
};

/** What comes from daemons. */
export type GenerationEvents = {
  /** `fds` are the receiver's to close. */
  onMessage(generation: Generation, message: DaemonMessage, fds: number[]): void;
  /** It is gone, and no more among those that live. */
  onEnd(generation: Generation): void;
};

/** The daemons of this keeper that live, and the phase that each is in. */
export class WatchedGenerations implements Iterable<Generation> {
  readonly #events: GenerationEvents;
  readonly #all = new Set<Generation>();

  constructor(events: GenerationEvents) {
    this.#events = events;
  }

  /** Whether one serves, or may come to. */
  get isServed(): boolean {
    return [...this.#all].some(({ phase }) => phase !== 'replaced');
  }

  /** Listen to a daemon. Its channel keeps this process running. */
  add(
    end: ChannelEnd,
    { phase, pid, ended = null }: { phase: GenerationPhase; pid: number | null; ended?: number | null },
  ): Generation {
    const channel: Generation['channel'] = new Channel(end, {
      onMessage: (message, fds) => {
        generation.hasSpoken = true;
        this.#events.onMessage(generation, message, fds);
      },
      onEnd: () => {
        this.#all.delete(generation);
        this.#events.onEnd(generation);
      },
    });
    const generation: Generation = { channel, pid, phase, ended };
    channel.ref();
    this.#all.add(generation);
    return generation;
  }

  /** It serves now, in place of the one that did. */
  serves(generation: Generation, { pid, hearsStop }: DaemonIdentity): void {
    for (const other of this.#all) if (other.phase === 'serving') other.phase = 'restarting';
    Object.assign(generation, { pid, phase: 'serving', successor: null });
    if (hearsStop) generation.stop = (times) => generation.channel.send({ stop: times });
  }

  send(message: KeeperMessage): void {
    for (const { channel } of this.#all) channel.send(message);
  }

  [Symbol.iterator](): Iterator<Generation> {
    return this.#all.values();
  }
}
