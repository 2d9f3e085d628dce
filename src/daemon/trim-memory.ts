/**
 * A daemon at rest gives back memory. Starting needs twice what serving does, and what a command or
 * a rush of connections needed is not needed afterwards.
 */
import { trimMemory } from '../sys/trim-memory.ts';
import type { Service } from './service.ts';

/** When a daemon counts as at rest; times in milliseconds. */
export type MemoryTrimmerOptions = {
  /** Differs from what it was when traffic came meanwhile. */
  look: () => string;
  /** Give memory back; it may take tens of milliseconds. */
  giveBack: () => void;
  /** Give back what starting needed, once, while there is traffic. Default: that waits for a rest. */
  giveBackStart?: () => void;
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
    this.#schedule(this.#options.quietMs ?? 3000);
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
    const { quietMs = 3000, lookMs = 30_000, giveBack, giveBackStart } = this.#options;
    const mark = this.#mark();
    const isQuiet = mark === this.#seen;
    this.#schedule(isQuiet ? lookMs : quietMs); // first: the watch goes on whatever becomes of the rest
    const wasGivenBack = this.#isStartGivenBack;
    this.#isStartGivenBack = true;
    if (!isQuiet && !wasGivenBack) return giveBackStart?.();
    if (!isQuiet || mark === this.#rested) return;
    this.#rested = mark;
    giveBack();
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
    ...(engine.name === 'native' && { giveBackStart: trimMemory }),
    giveBack() {
      engine.trimMemory?.();
      trimMemory();
    },
  });
}
