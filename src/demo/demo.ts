import http from 'node:http';
import https from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { serve } from '../http/index.ts';
import type { Address, Target } from '../http/index.ts';
import { makeCertificate } from './certificate.ts';
import { parseDuration } from './duration.ts';

/** What the demo server listens on, and where it writes. */
export type DemoOptions = {
  /** Default: `:48567`, `:48568`, `:48569`. */
  addresses?: readonly Address[];
  /** Addresses that speak TLS, with a certificate made at the start. Default: none. */
  tlsAddresses?: readonly Address[];
  /** Takes a line for people. */
  print: (line: string) => void;
  /** Stops as SIGTERM does. */
  signal?: AbortSignal;
};

/**
 * The demo server of the library: `GET /sleep/?duration=20s` sleeps and tells who slept. Restart it with
 * SIGUSR2 meanwhile, and ask again. Resolves when it was stopped and the last answer is given.
 *
 * @throws GraceError when an address cannot be listened on.
 */
export async function runDemo({
  addresses = [':48567', ':48568', ':48569'],
  tlsAddresses = [],
  print,
  signal,
}: DemoOptions): Promise<void> {
  const started = new Date().toISOString();
  const answer =
    (name: string): http.RequestListener =>
    async (request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
      const milliseconds = parseDuration(searchParams.get('duration') ?? '0s');
      if (pathname !== '/sleep/' || milliseconds === null) {
        response.writeHead(pathname === '/sleep/' ? 400 : 404).end('try /sleep/?duration=20s\n');
        return;
      }
      await delay(milliseconds);
      response.end(
        `${name} started at ${started} slept for ${milliseconds * 1e6} nanoseconds from pid ${process.pid}.\n`,
      );
    };

  const plain = addresses.map((address, i): Target => ({ server: http.createServer(answer(nameOf(i))), address }));
  const secure = tlsAddresses.map((address, i): Target => ({
    server: https.createServer(makeCertificate('localhost'), answer(nameOf(addresses.length + i))),
    address,
  }));
  await serve([...plain, ...secure], { log: print, ...(signal !== undefined && { signal }) });
}

function nameOf(index: number): string {
  return ['Zero', 'First', 'Second', 'Third', 'Fourth', 'Fifth'][index] ?? `Number ${index}`;
}
