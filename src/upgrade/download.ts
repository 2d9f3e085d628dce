/** Fetches files over HTTP with bounds on everything: size, silence, total time, redirects. */
import { createWriteStream } from 'node:fs';
import http from 'node:http';
import { pipeline } from 'node:stream/promises';
import tls from 'node:tls';
import { GraceError, errorCode, errorMessage } from '../error.ts';
import { TimeLimit } from '../waiting.ts';

/** Bounds of one download; sizes in bytes, times in milliseconds. */
export type DownloadOptions = {
  /** Largest answer that is taken, in bytes. */
  limit: number;
  /** Longest time without a byte, and for an answer to begin. */
  silenceMs: number;
  /** Longest time for the whole of it. */
  totalMs: number;
  signal: AbortSignal;
  /** Hears how much has come, and how much there is, if the server said so; in bytes. */
  onBytes?: ((received: number, announced: number | null) => void) | undefined;
};

const maxRedirects = 5;

/** There is no such file on the server. */
export class NotFoundError extends GraceError {}

/**
 * Use the proxies that the environment names (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) and trust the
 * system's certificates beside those of the runtime, as other programs do. For the whole process.
 * Throws GraceError (exit code 2) for what is no proxy, which may hold a password and is not shown.
 */
export function prepareDownloads(env: NodeJS.ProcessEnv): void {
  for (const name of ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy']) {
    const value = env[name];
    if (value && !/^(?:https?|socks5?):$/.test(URL.parse(value)?.protocol ?? ''))
      throw new GraceError(`${name} is no address of a proxy: expected one like http://proxy.example:3128`, {
        code: 'ERR_GRACE_USAGE',
      });
  }
  const { HTTP_PROXY, HTTPS_PROXY, NO_PROXY, http_proxy, https_proxy, no_proxy } = env;
  if (HTTP_PROXY || HTTPS_PROXY || http_proxy || https_proxy) {
    http.setGlobalProxyFromEnv({ HTTP_PROXY, HTTPS_PROXY, NO_PROXY, http_proxy, https_proxy, no_proxy });
  }
  tls.setDefaultCACertificates([...tls.getCACertificates('bundled'), ...tls.getCACertificates('system')]);
}

/** The content of a small file. Rejects with GraceError, which is a NotFoundError for a missing file. */
export async function downloadBytes(url: URL, options: DownloadOptions): Promise<Buffer> {
  const parts: Buffer[] = [];
  await download(url, options, async (chunks) => {
    for await (const chunk of chunks) parts.push(chunk);
  });
  return Buffer.concat(parts);
}

/** Write a file to a path that must not exist. Rejects as `downloadBytes`; half a file may then be there. */
export async function downloadFile(url: URL, path: string, options: DownloadOptions): Promise<void> {
  await download(url, options, (chunks) => pipeline(chunks, createWriteStream(path, { flags: 'wx', mode: 0o600 })));
}

async function download(
  url: URL,
  options: DownloadOptions,
  take: (chunks: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  using silence = new TimeLimit(options.silenceMs, new Error(`no answer for ${options.silenceMs / 1000} s`));
  const total = AbortSignal.timeout(options.totalMs);
  const signal = AbortSignal.any([options.signal, silence.signal, total]);
  try {
    const response = await followRedirects(url, signal);
    if (!response.body) throw new GraceError('the answer is empty');
    const onBytes = (received: number, announced: number | null) => {
      silence.restart();
      options.onBytes?.(received, announced);
    };
    await take(bounded(response, { limit: options.limit, onBytes }));
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof NotFoundError) throw error;
    const reason = silence.signal.aborted
      ? errorMessage(silence.signal.reason)
      : total.aborted
        ? `not done after ${options.totalMs / 1000} s`
        : reasonOf(error);
    throw new GraceError(`cannot download ${url}: ${reason}`, { cause: error });
  }
}

async function followRedirects(start: URL, signal: AbortSignal): Promise<Response> {
  let url = start;
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const response = await fetch(url, { redirect: 'manual', signal, headers: { 'accept-encoding': 'identity' } });
    const location = response.headers.get('location');
    if (response.status >= 300 && response.status < 400 && location !== null) {
      await response.body?.cancel();
      const next = new URL(location, url);
      if (next.protocol !== 'https:' && (next.protocol !== 'http:' || url.protocol === 'https:'))
        throw new GraceError(`it leads to ${next}, which is not secure`);
      url = next;
      continue;
    }
    if (response.ok) return response;
    await response.body?.cancel();
    if (response.status === 404 || response.status === 410) throw new NotFoundError(`there is no ${start}`);
    throw new GraceError(`the server answered ${response.status} ${response.statusText}`.trim());
  }
  throw new GraceError(`more than ${maxRedirects} redirects`);
}

async function* bounded(
  response: Response,
  { limit, onBytes }: { limit: number; onBytes: NonNullable<DownloadOptions['onBytes']> },
): AsyncGenerator<Buffer, void, void> {
  const tooLarge = () => new GraceError(`it is larger than ${limit} bytes`);
  const announced = Number(response.headers.get('content-length') ?? Number.NaN);
  if (announced > limit) throw tooLarge();
  let size = 0;
  for await (const chunk of response.body!) {
    size += chunk.length;
    if (size > limit) throw tooLarge();
    onBytes(size, announced >= 0 ? announced : null);
    yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
  }
  if (announced >= 0 && size !== announced) throw new GraceError(`it ended after ${size} of ${announced} bytes`);
}

/** fetch(2) says "fetch failed" and keeps why in the cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && !(error instanceof GraceError) ? error.cause : undefined;
  if (cause === undefined) return errorMessage(error);
  return errorMessage(cause) || errorCode(cause) || errorMessage(error);
}
