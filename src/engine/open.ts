/** Which engine runs, and why. */
import { availableParallelism } from 'node:os';
import { errorMessage, GraceError } from '../error.ts';
import type { Engine, EngineName } from './engine.ts';
import { openNativeEngine } from './native/engine.ts';
import { Names } from './lookup.ts';
import { Services } from './services.ts';
import { openPortableEngine } from './portable/engine.ts';
import { TicketRing } from './ticket-ring.ts';
import type { TotalSlots } from './total-slots.ts';

/** `auto`: native where it can run. */
export type WantedEngine = EngineName | 'auto';

/** What has TLS: `auto` is the native engine, where that runs and can speak it. */
export type WantedTls = 'auto' | 'portable';

/** Variable of the daemon's environment that keeps TLS away from the native engine. */
const tlsVariable = 'GRACE_TLS';

/** What that variable says. Throws GraceError when it is none of its words. */
export function readWantedTls(env: NodeJS.ProcessEnv): WantedTls {
  const word = env[tlsVariable] || 'auto';
  if (word === 'auto' || word === 'portable') return word;
  throw new GraceError(`${tlsVariable} is auto or portable, not ${JSON.stringify(word)}`, {
    code: 'ERR_GRACE_USAGE',
    hint: "leave it unset: TLS is the native engine's then, where that can speak it",
  });
}

/** What is asked of an engine. */
export type EngineChoice = {
  wanted: WantedEngine;
  /** What has TLS. Default: `auto`. */
  tls?: WantedTls;
  /** Threads of the native engine; null: half of the cores, the other half being for those it serves. */
  threads: number | null;
  /** Looks names up, for whichever engine it is. Default: one of its own. */
  names?: Names;
  /** Finds services, as `names` does names. */
  services?: Services;
  /** Seals the session tickets of TLS. Default: one of its own. */
  tickets?: TicketRing;
  /** The places of all connections. Default: no limit. */
  total?: TotalSlots | null;
  /** The native engine failed; the portable one, inside it, accepts from now on. */
  onFailure: (error: Error) => void;
  /** TLS is the portable engine's although it was to be the native one's, and why. */
  onTlsUnusable?: (why: string) => void;
};

/** An engine, and what to say about it. The caller closes it. */
export type OpenedEngine = {
  engine: Engine;
  /** Why it is this one, as of now. */
  reason(): string;
};

/** Most threads that are started unless more are asked for. */
const MAX_THREADS = 8;

/** Open the engine that is wanted. Throws GraceError when it is `native` and that cannot run. */
export function openEngine({
  wanted,
  tls = 'auto',
  threads,
  names = new Names(),
  services = new Services({ names }),
  tickets = new TicketRing(),
  total = null,
  onFailure,
  onTlsUnusable,
}: EngineChoice): OpenedEngine {
  const shared = { names, services, tickets, total };
  if (wanted === 'portable') return { engine: openPortableEngine(shared), reason: () => '--engine portable' };
  const count = threads ?? defaultThreads();
  let failure: Error | null = null;
  let whyNoTls = tls === 'portable' ? `${tlsVariable}=portable` : null;
  try {
    const engine = openNativeEngine({
      ...shared,
      threads: count,
      // Deno has no OpenSSL that can be called.
      tls: tls === 'auto' && !('Deno' in globalThis),
      onTlsUnusable(why) {
        whyNoTls = why;
        onTlsUnusable?.(why);
      },
      onFailure(error) {
        failure = error;
        onFailure(error);
      },
    });
    const plural = count === 1 ? 'thread' : 'threads';
    const ofTls = () => (whyNoTls === null ? '' : `TLS by the portable engine: ${whyNoTls}; `);
    return {
      engine,
      reason: () => (failure ? `the native one failed: ${failure.message}` : `${ofTls()}${count} ${plural}`),
    };
  } catch (error) {
    if (wanted === 'native')
      throw new GraceError(`cannot start the native engine: ${errorMessage(error)}`, {
        hint: 'use: --engine portable',
        cause: error,
      });
    return {
      engine: openPortableEngine(shared),
      reason: () => `the native one cannot run here: ${errorMessage(error)}`,
    };
  }
}

function defaultThreads(): number {
  return Math.min(Math.max(1, Math.floor(availableParallelism() / 2)), MAX_THREADS);
}
