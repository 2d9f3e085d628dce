/** What is answered over HTTP, by path. Nothing here changes anything. */
import { call } from '../../control/client.ts';
import type { Progress, Request, Result } from '../../control/messages.ts';
import { MovedError } from '../../control/server.ts';
import { handleRequest } from '../requests/commands.ts';
import type { Service } from '../service.ts';
import { textOf } from './answer.ts';
import type { Answer, Asker, Route, Routes } from './answer.ts';
import type { Events } from './events.ts';
import { whyNotHealthy, whyNotReady } from './health.ts';
import { visibleJson } from '../../one-line.ts';
import type { Problems } from './health.ts';
import { loadPage } from './page/load.ts';
import type { Page } from './page/load.ts';

/** Prometheus's text format. */
const prometheusText = 'text/plain; version=0.0.4; charset=utf-8';
const json = 'application/json; charset=utf-8';

/** Every path that there is. */
export function makeRoutes(service: Service, events: Events): Routes {
  let page: Page | null = null;
  const ask = <C extends 'ls' | 'status'>(request: Request<C> & { command: C }, { signal }: Asker) =>
    askDaemon(service, request, { signal, hear() {} });
  return new Map<string, Route>([
    [
      '/',
      {
        isOpen: true,
        answer() {
          const { html, policy } = (page ??= loadPage());
          return {
            status: 200,
            type: 'text/html; charset=utf-8',
            body: html,
            headers: { 'Content-Security-Policy': policy },
          };
        },
      },
    ],
    [
      '/metrics',
      {
        isOpen: false,
        async answer({ signal }) {
          let body = '';
          await askDaemon(service, { command: 'metrics' }, { signal, hear: ({ text }) => void (body += text) });
          return { status: 200, type: prometheusText, body };
        },
      },
    ],
    ['/healthz', { isOpen: true, answer: async (asker) => verdict(await whyNotHealthy(service), asker) }],
    ['/readyz', { isOpen: true, answer: async (asker) => verdict(await whyNotReady(service), asker) }],
    ['/api/ls', { isOpen: false, answer: async (asker) => jsonOf((await ask({ command: 'ls' }, asker)).rows) }],
    [
      '/api/status',
      {
        isOpen: false,
        answer: async (asker) => jsonOf({ running: true, ...(await ask({ command: 'status' }, asker)) }),
      },
    ],
    ['/api/events', { isOpen: false, answer: () => jsonOf(events.all) }],
  ]);
}

function jsonOf(value: unknown): Answer {
  return { status: 200, type: json, body: `${visibleJson(JSON.stringify(value))}\n` };
}

function verdict(problems: Problems, { isTrusted }: Asker): Answer {
  if (problems.length === 0) return textOf(200, 'ok');
  // Where rules lead is for those who have the token.
  const lines = problems.map(({ src, text }) =>
    src === undefined ? text : isTrusted ? `${src} ${text}` : 'a rule is not served',
  );
  return textOf(503, [...new Set(lines)].join('\n'));
}

/** As a client of the control socket is answered: by this process, or by the one that has replaced it since it accepted. */
async function askDaemon<C extends 'ls' | 'status' | 'metrics'>(
  service: Service,
  request: Request<C> & { command: C },
  { signal, hear }: { signal: AbortSignal; hear: (progress: Progress<C>) => void },
): Promise<Result<C>> {
  try {
    return await handleRequest<C>(service, request, { peer: ownPeer(), signal, progress: hear });
  } catch (error) {
    if (!(error instanceof MovedError)) throw error;
    return await call(service.paths.dir, request, { signal, onProgress: hear });
  }
}

/** The request is this daemon's own. */
function ownPeer(): { pid: number; uid: number; gid: number } {
  return { pid: process.pid, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}
