/**
 * A daemon at rest gives back memory. Starting needs twice what serving does, and what a command or
 * a rush of connections needed is not needed afterwards.
 */
import { trimMemory, trimPages } from '../sys/trim-memory.ts';
import type { Service } from './service.ts';

/** When a daemon counts as at rest; times in milliseconds. */
export type MemoryTrimmerOptions = {
  /** Differs from what it was when traffic came meanwhile. */
  look: () => string;
  /** Give memory back; it may take tens of milliseconds. */
  giveBack: () => void;
  /** What is given back while there is traffic. Default: nothing, all waits for a rest. */
  underTraffic?: {
    /** What starting needed, once. */
    giveBackStart: () => void;
    /** What was needed for a moment since; at each look, so it must cost next to nothing. */
    giveBackPages: () => void;
  };
  /** Time without a command after which that is done first. Default 1 s: few stay idle so soon after a start. */
  startMs?: number;
  /** Time without a byte, a connection or a command after which that is done. Default 3 s. */
  quietMs?: number;
  /** Time between two looks whether traffic came. Default 30 s. */
  lookMs?: number;
};

/** Watches for times at which nothing happens. It does not keep the process. */
export class MemoryTrimmer {
  readonly #options: MemoryTrimmerOptions;
  #timer: NodeJS.Timeout | null = null;
  #commands = 0;
  #isStartGivenBack = false;
  /** What had happened at the last look, and when memory was last given back. */
  #seen = '';
  #rested = '';

  constructor(options: MemoryTrimmerOptions) {
    this.#options = options;
  }

  /** Something happened that needed memory; the first time starts the watch. */
  disturb(): void {
    this.#commands++;
    const { startMs = 1000, quietMs = 3000 } = this.#options;
    this.#schedule(this.#isStartGivenBack ? quietMs : startMs);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(delayMs: number): void {
    this.stop();
    this.#seen = this.#mark();
    this.#timer = setTimeout(() => this.#lookAgain(), delayMs).unref();
  }

  #lookAgain(): void {
    const { quietMs = 3000, lookMs = 30_000, giveBack } = this.#options;
    const mark = this.#mark();
    const isQuiet = mark === this.#seen;
    this.#schedule(isQuiet ? lookMs : quietMs); // first: the watch goes on whatever becomes of the rest
    if (!isQuiet) return this.#lookAtTraffic();
    this.#isStartGivenBack = true;
    if (mark === this.#rested) return;
    this.#rested = mark;
    giveBack();
  }

  #lookAtTraffic(): void {
    const { underTraffic } = this.#options;
    if (this.#isStartGivenBack) underTraffic?.giveBackPages();
    else underTraffic?.giveBackStart();
    this.#isStartGivenBack = true;
  }

  #mark(): string {
    return `${this.#commands} ${this.#options.look()}`;
  }
}

/** The watch of a daemon. It begins with the first disturbance. */
export function watchMemory({ forwarder, engine }: Pick<Service, 'forwarder' | 'engine'>): MemoryTrimmer {
  return new MemoryTrimmer({
    look: () =>
      forwarder
        .views()
        .map(({ destination }) => Object.values(destination.stats()).join(' '))
        .join(),
    // Its threads move the bytes, and hear nothing of it.
    ...(engine.name === 'native' && { underTraffic: { giveBackStart: trimMemory, giveBackPages: trimPages } }),
    giveBack() {
      engine.trimMemory?.();
      trimMemory();
    },
  });
}
