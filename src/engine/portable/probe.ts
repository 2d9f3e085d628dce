import { once } from 'node:events';
import type { DirectClient } from '../../endpoint/model.ts';
import { GraceError } from '../../error.ts';
import type { ProbeOptions } from '../engine.ts';
import type { Dialer } from './dial.ts';
import { resumeLeg } from './gate.ts';
import { askHttp } from './http-check.ts';
import { closedLeg, closeLeg } from './leg.ts';
import type { Leg } from './leg.ts';
import { CERTIFICATE_HINT, isTls13, refusal } from './refusal.ts';

/** How long a server may take to show what it thinks of the handshake: at least, and beyond that so many times what the dialling took. */
const VERDICT_MS = { min: 300, max: 5000, ofDialing: 2 };

/** Connect as for a client, ask what is to be asked, then close again. Rejects with GraceError or with the signal's reason. */
export async function probe(dial: Dialer, endpoint: DirectClient, { signal, http }: ProbeOptions): Promise<void> {
  const began = performance.now();
  const leg = await dial({ signal, subject: 'local' });
  const { min, max, ofDialing } = VERDICT_MS;
  try {
    if (http) await askHttp(leg, endpoint, http, { signal });
    else
      await heardVerdict(leg, {
        signal,
        limitMs: Math.min(max, Math.max(min, ofDialing * (performance.now() - began))),
      });
  } finally {
    closeLeg(leg);
    await closedLeg(leg);
  }
}

/**
 * In TLS 1.3 the client is done before the server has seen its certificate, or that it has none. One
 * that takes the client sends tickets or data, or nothing at all; one that does not sends an alert or
 * closes. So silence is consent once the time is up.
 */
async function heardVerdict(leg: Leg, { signal, limitMs }: { signal: AbortSignal; limitMs: number }): Promise<void> {
  if (!isTls13(leg)) return;
  const { socket } = leg;
  const over = new AbortController();
  const heard = (event: string) => once(socket, event, { signal: over.signal });
  const timer = setTimeout(() => over.abort(), limitMs);
  const abort = () => over.abort();
  signal.addEventListener('abort', abort);
  const verdict = Promise.race([
    Promise.any([heard('session'), heard('data')]),
    Promise.any([heard('end'), heard('close')]).then(() => {
      throw new GraceError('the connection was closed right after the TLS handshake', { hint: CERTIFICATE_HINT });
    }),
  ]);
  resumeLeg(leg);
  try {
    await verdict;
  } catch (error) {
    signal.throwIfAborted();
    if (over.signal.aborted) return;
    throw error instanceof AggregateError ? refusal(error.errors[0]) : error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
    over.abort();
  }
}
