import type { EngineObserver, Upstream } from '../../engine/engine.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import type { AccessLog } from './access-log.ts';
import { accessLine } from './access-line.ts';
import type { AccessLogFormat } from './access-line.ts';
import { logConnections } from './connections.ts';
import type { Log } from './log.ts';

/** Where what happens to connections is written. */
export type Logs = {
  log: Log;
  /** Null: there is none. */
  accessLog: AccessLog | null;
  accessLogFormat: AccessLogFormat;
  generation: number;
  /** A destination as it was typed. */
  nameOf: (upstream: Upstream) => string;
};

/** Writes what happens to the connections of one rule into the log, and each that has ended into the access log. */
export function observeConnections(
  { log, accessLog, accessLogFormat, generation, nameOf }: Logs,
  src: SourceSpec,
): EngineObserver {
  const inLog = logConnections(log, src);
  if (accessLog === null) return inLog;
  return {
    ...inLog,
    wantsOrderlyEnds: inLog.wantsOrderlyEnds === true ? true : 'soon',
    connectionEnded(end) {
      inLog.connectionEnded?.(end);
      const { upstream, startedMs, durationMs } = end;
      const context = { src: src.typed, dst: nameOf(upstream), generation, endedMs: startedMs + durationMs };
      accessLog.write(accessLine(accessLogFormat, end, context));
    },
  };
}
