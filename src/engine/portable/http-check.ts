/** One question over a connection that has just been made: whether whoever serves there answers as HTTP, and how. */
import type { DirectClient } from '../../endpoint/model.ts';
import { serverNameOf } from '../../endpoint/server-name.ts';
import { canonicalHost } from '../../endpoint/address.ts';
import { errorCode, GraceError } from '../../error.ts';
import type { HttpQuestion } from '../engine.ts';
import { describeFailure } from '../words.ts';
import { resumeLeg } from './gate.ts';
import type { Leg } from './leg.ts';
import { CERTIFICATE_HINT, isTls13, refusal } from './refusal.ts';
import { TimeLimitError, withinTime } from './retry.ts';

/** Longest head of an answer, interim ones included, in bytes. */
const MAX_HEAD_BYTES = 16 * 1024;

/** How much of what is no HTTP an error shows, in bytes. */
const MAX_SHOWN = 40;

/**
 * The endpoint to dial for the question: of `alpn` it offers what HTTP/1.1 has. Throws GraceError
 * (exit code 2) when that leaves nothing.
 */
export function endpointForHttp(endpoint: DirectClient): DirectClient {
  if ((endpoint.type !== 'tls' && endpoint.type !== 'ssl') || endpoint.alpn === undefined) return endpoint;
  const alpn = endpoint.alpn.filter((name) => /^http\/1\.[01]$/.test(name));
  if (alpn.length > 0) return { ...endpoint, alpn };
  throw new GraceError(`the HTTP check speaks HTTP/1.1, and alpn=${endpoint.alpn.join(',')} does not offer it`, {
    hint: 'check an address of the destination that speaks HTTP/1.1, or only that it accepts',
    code: 'ERR_GRACE_USAGE',
  });
}

/** Ask, and read the head of the answer. Rejects with GraceError that says what came instead of the wanted status, or with the signal's reason. */
export async function askHttp(
  leg: Leg,
  endpoint: DirectClient,
  question: HttpQuestion,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const { path, least, most, timeoutMs } = question;
  const status = await withinTime(timeoutMs, signal, (limit) =>
    readStatus(leg, requestOf(endpoint, question), limit),
  ).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new GraceError(
      `GET ${path}: ${error instanceof TimeLimitError ? `no answer in ${timeoutMs / 1000}s` : describeFailure(error)}`,
      {
        hint: error instanceof GraceError ? error.hint : undefined,
        cause: error,
      },
    );
  });
  if (status >= least && status <= most) return;
  throw new GraceError(`GET ${path}: answered ${status}, not ${least === most ? least : `${least}-${most}`}`);
}

function requestOf(endpoint: DirectClient, { path, userAgent }: HttpQuestion): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${hostOf(endpoint)}\r\nUser-Agent: ${userAgent}\r\nAccept: */*\r\nConnection: close\r\n\r\n`;
}

/** What a client of the destination would call it (RFC 9112, section 3.2); a path in the file system has no such name. */
function hostOf(endpoint: DirectClient): string {
  if (endpoint.type === 'unix') return 'localhost';
  if (endpoint.type === 'srv') return canonicalHost(endpoint.name);
  const isTls = endpoint.type !== 'tcp';
  const name = isTls ? serverNameOf(endpoint).checked : canonicalHost(endpoint.host);
  const host = name.includes(':') ? `[${name.replace(/%.*/s, '')}]` : name;
  return endpoint.port === (isTls ? 443 : 80) ? host : `${host}:${endpoint.port}`;
}

/** The status of the first answer that is not an interim one (1xx), when its head is complete. */
function readStatus(leg: Leg, request: string, signal: AbortSignal): Promise<number> {
  const { socket } = leg;
  return new Promise((resolve, reject) => {
    let head = '';
    let bytes = 0;
    const over = (act: () => void) => {
      socket.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onError);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const fail = (error: unknown) => over(() => reject(error));
    const onData = (chunk: Buffer) => {
      bytes += chunk.length;
      head += chunk.toString('latin1');
      const { status, isHttp, rest } = statusOf(head.slice(0, Math.max(0, MAX_HEAD_BYTES - (bytes - head.length))));
      if (status !== null) over(() => resolve(status));
      else if (!isHttp) fail(notHttp(head));
      else if (bytes > MAX_HEAD_BYTES)
        fail(new GraceError(`the head of the answer is longer than ${MAX_HEAD_BYTES / 1024} kB`));
      else head = rest;
    };
    const onEnd = () => fail(closedEarly(head, { isOfHandshake: isTls13(leg) }));
    const onError = (error: Error) => fail(isTls13(leg) && isAlert(error) ? refusal(error) : error);
    const onAbort = () => fail(signal.reason);
    socket.on('data', onData).once('end', onEnd).once('close', onEnd).once('error', onError);
    signal.addEventListener('abort', onAbort);
    resumeLeg(leg);
    // That it does not take the request shows in what comes, or in the end.
    socket.write(request);
  });
}

type Read = { status: number | null; isHttp: boolean; /** What is still to be read. */ rest: string };

function statusOf(head: string): Read {
  for (let rest = head; ;) {
    const line = /^HTTP\/1\.[0-9] ([1-9][0-9][0-9])(?: [^\r\n]*)?\r?\n/.exec(rest);
    if (!line) {
      const end = rest.indexOf('\n');
      return { status: null, isHttp: end === -1 && (rest.startsWith(start) || start.startsWith(rest)), rest };
    }
    const end = /\r?\n\r?\n/.exec(rest);
    if (!end) return { status: null, isHttp: true, rest };
    const status = Number(line[1]);
    if (status >= 200 || status === 101) return { status, isHttp: true, rest: '' };
    rest = rest.slice(end.index + end[0].length);
  }
}

const start = 'HTTP/1.';

function notHttp(text: string): GraceError {
  // The first frame of an HTTP/2 server is SETTINGS, of stream 0 (RFC 9113, section 3.4).
  if (text.startsWith('\0\0') && text.slice(3, 9) === '\x04\0\0\0\0\0')
    return new GraceError('it speaks HTTP/2 alone, and the check HTTP/1.1');
  const [line = ''] = text.split(/\r?\n/, 1);
  return new GraceError(`not HTTP: ${shown(line === '' ? text : line)}`);
}

/** Of TLS 1.3 the reason may be our certificate, which some servers do not say. */
function closedEarly(head: string, { isOfHandshake }: { isOfHandshake: boolean }): GraceError {
  if (head === '')
    return new GraceError('it closed the connection without an answer', {
      hint: isOfHandshake ? CERTIFICATE_HINT : undefined,
    });
  return new GraceError(`it closed the connection within the head of the answer, after ${shown(head)}`);
}

function isAlert(error: Error): boolean {
  return errorCode(error)?.startsWith('ERR_SSL') === true || /alert/i.test(error.message);
}

/** A stranger's bytes in quotes, short and harmless to a terminal. */
function shown(text: string): string {
  const escaped = text.slice(0, MAX_SHOWN).replace(/[^ -~]|["\\]/g, (char) => {
    if (char === '"' || char === '\\') return `\\${char}`;
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return `"${escaped}${text.length > MAX_SHOWN ? '…' : ''}"`;
}
