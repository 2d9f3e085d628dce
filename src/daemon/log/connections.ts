import type { ConnectionEnd, EngineObserver } from '../../engine/engine.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import type { Log } from './log.ts';

/** At most one line about the same trouble in so many milliseconds; the next one says how many there were. */
const quietMs = 1000;

/** Writes what happens to the connections of one rule into the log. */
export function logConnections(log: Log, src: SourceSpec): EngineObserver {
  const troubles = new Map<string, { saidAt: number; more: number }>();
  const isDetailed = log.isLevelEnabled('debug');

  const isNews = (trouble: string): number | null => {
    const now = performance.now();
    const known = troubles.get(trouble);
    if (known && now - known.saidAt < quietMs) {
      known.more++;
      return null;
    }
    if (troubles.size > 100) troubles.clear();
    troubles.set(trouble, { saidAt: now, more: 0 });
    return known?.more ?? 0;
  };

  return {
    // A line that is not written is not worth a message from thread to thread for every connection.
    wantsOrderlyEnds: isDetailed,
    connectionEnded(event) {
      if (!event.error && !isDetailed) return; // the access log alone wanted to hear of it
      const context = { src: src.typed, ...describe(event) };
      if (!event.error) return log.debug(context, 'connection ended');
      const more = isNews(`${event.stage} ${event.error.message}`);
      if (more === null) return;
      log.warn(
        { ...context, error: event.error.message, ...(more > 0 ? { alsoSinceLastLine: more } : {}) },
        troubleOf(event),
      );
    },
    acceptPaused({ error, retryInMs }) {
      if (isNews('accept') !== null)
        log.error({ src: src.typed, error: error.message, retryInMs }, 'accepting paused; clients wait in the queue');
    },
    acceptResumed() {
      log.info({ src: src.typed }, 'accepting again');
    },
  };
}

function describe({ peer, bytesIn, bytesOut, durationMs, reason }: ConnectionEnd): object {
  return { peer, reason, bytesIn, bytesOut, durationMs: Math.round(durationMs) };
}

function troubleOf({ stage, reason }: ConnectionEnd): string {
  switch (stage) {
    case 'handshake':
      return reason === 'handshake-failed' ? 'client refused: its handshake failed' : 'client refused';
    case 'dial':
      return 'client closed: its destination cannot be reached';
    case 'relay':
      return 'connection broken';
  }
}
