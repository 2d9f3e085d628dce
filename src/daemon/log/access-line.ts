/** A line of the access log: what there is to say of a connection that has ended. */
import type { ConnectionEnd } from '../../engine/engine.ts';

/** Lines for people, or a JSON object a line. */
export type AccessLogFormat = 'text' | 'json';

/** What is said of a connection beside its end itself. */
export type AccessContext = {
  /** As they were typed. */
  src: string;
  dst: string;
  /** Which process of the daemon ended it. */
  generation: number;
  /** When it ended, milliseconds since the epoch. */
  endedMs: number;
};

/** The line, with its end. */
export function accessLine(format: AccessLogFormat, end: ConnectionEnd, context: AccessContext): string {
  return format === 'json' ? jsonLine(end, context) : textLine(end, context);
}

/** Put together by hand: as an object first, it would cost twice what everything else does that a connection needs of the main thread. */
function jsonLine(end: ConnectionEnd, { src, dst, generation, endedMs }: AccessContext): string {
  const { peer, via, tls, connectMs, error } = end;
  return (
    `{"time":"${new Date(endedMs).toISOString()}","client":${JSON.stringify(peer)}` +
    (via === null ? '' : `,"via":${JSON.stringify(via)}`) +
    `,"src":${JSON.stringify(src)},"dst":${JSON.stringify(dst)},"bytesIn":${end.bytesIn},"bytesOut":${end.bytesOut}` +
    `,"connectMs":${connectMs === null ? 'null' : rounded(connectMs)},"durationMs":${rounded(end.durationMs)}` +
    (tls === null ? '' : `,"tlsVersion":${JSON.stringify(tls.version)},"serverName":${JSON.stringify(tls.name)}`) +
    `,"reason":"${end.reason}"` +
    (error === null ? '' : `,"error":${JSON.stringify(error.message)}`) +
    `,"acceptedBy":${end.generation ?? generation},"endedBy":${generation}}\n`
  );
}

function textLine(end: ConnectionEnd, { src, dst, generation, endedMs }: AccessContext): string {
  const { peer, via, tls, bytesIn, bytesOut, connectMs, durationMs, reason } = end;
  const line =
    `${new Date(endedMs).toISOString()} ${peer} ${src} -> ${dst} ${reason} in=${bytesIn} out=${bytesOut}` +
    ` connect=${connectMs === null ? '-' : `${rounded(connectMs)}ms`} duration=${rounded(durationMs)}ms` +
    (via === null ? '' : ` via=${via}`) +
    (tls === null ? '' : ` tls=${tls.version} name=${tls.name ?? '-'}`) +
    ` generation=${end.generation === null || end.generation === generation ? generation : `${end.generation}>${generation}`}`;
  return `${hasControls.test(line) ? line.replace(controls, escaped) : line}\n`;
}

/** What strangers send may be in it: a line stays one line, and no terminal is told what to do. */
const controls = /[\p{Cc}\u2028\u2029]/gu;
const hasControls = /[\p{Cc}\u2028\u2029]/u;

function escaped(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

/** To microseconds. */
function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}
