/** A line of the access log: what there is to say of a connection that has ended. */
import type { ConnectionEnd } from '../../engine/engine.ts';
import { visible, visibleJson } from '../../one-line.ts';

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
  const { peer, via, tls, chosen, connectMs, error } = end;
  return (
    `{"time":"${isoTime(endedMs)}","client":${quoted(peer)}` +
    (via === null ? '' : `,"via":${quoted(via)}`) +
    `,"src":${quoted(src)},"dst":${quoted(dst)},"bytesIn":${end.bytesIn},"bytesOut":${end.bytesOut}` +
    `,"connectMs":${connectMs === null ? 'null' : rounded(connectMs)},"durationMs":${rounded(end.durationMs)}` +
    (tls === null ? '' : `,"tlsVersion":${quoted(tls.version)},"serverName":${quoted(tls.name)}`) +
    (chosen === undefined ? '' : `,"serverName":${quoted(chosen.name)},"to":${quoted(chosen.to)}`) +
    `,"reason":"${end.reason}"` +
    (error === null ? '' : `,"error":${quoted(error.message)}`) +
    `,"acceptedBy":${end.generation ?? generation},"endedBy":${generation}}\n`
  );
}

/** What JSON takes as it is: printable ASCII but `"` and `\`. */
const isPlain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** As JSON has it; of what needs no escapes, in a tenth of the time. */
function quoted(text: string | null): string {
  return text !== null && isPlain.test(text) ? `"${text}"` : visibleJson(JSON.stringify(text));
}

function textLine(end: ConnectionEnd, { src, dst, generation, endedMs }: AccessContext): string {
  const { peer, via, tls, chosen, bytesIn, bytesOut, connectMs, durationMs, reason } = end;
  const line =
    `${isoTime(endedMs)} ${peer} ${src} -> ${dst} ${reason} in=${bytesIn} out=${bytesOut}` +
    ` connect=${connectMs === null ? '-' : `${rounded(connectMs)}ms`} duration=${rounded(durationMs)}ms` +
    (via === null ? '' : ` via=${via}`) +
    (tls === null ? '' : ` tls=${tls.version} name=${tls.name ?? '-'}`) +
    (chosen === undefined ? '' : ` name=${chosen.name ?? '-'} to=${chosen.to}`) +
    ` generation=${end.generation === null || end.generation === generation ? generation : `${end.generation}>${generation}`}`;
  return `${visible(line)}\n`;
}

/** To microseconds. */
function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}

let second = NaN;
let textOfSecond = '';

/** As `Date.toISOString`, which costs as much as the rest of a line: most lines are of the second of the one before. */
function isoTime(sinceEpochMs: number): string {
  const ms = Math.trunc(sinceEpochMs);
  const secondOfIt = Math.floor(ms / 1000);
  if (secondOfIt !== second) {
    textOfSecond = new Date(secondOfIt * 1000).toISOString().slice(0, -4);
    second = secondOfIt;
  }
  return `${textOfSecond}${String(ms - secondOfIt * 1000).padStart(3, '0')}Z`;
}
