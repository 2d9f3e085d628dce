/**
 * Answers over HTTP on an endpoint of its own (`--admin`), which is the daemon's like those of its rules: the keeper
 * has a copy, a successor goes on with the same socket, and no client is refused.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { TlsOptions } from 'node:tls';
import { demandsCertificate, isLoopback, readAdmin, readToken, unguardedError } from '../../control/admin.ts';
import type { AdminSettings } from '../../control/admin.ts';
import type { BindableServer } from '../../endpoint/model.ts';
import { hasTls } from '../../endpoint/inner.ts';
import { readServerParts } from '../../endpoint/server-parts.ts';
import { prepareServer } from '../../engine/portable/server-files.ts';
import { KEY_TYPES } from '../../engine/client-hello.ts';
import { GraceError, errorMessage } from '../../error.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { formatAddress } from '../../net/listener.ts';
import type { Listener } from '../../net/listener.ts';
import { takeOverSocketPath } from '../../net/unix-path.ts';
import { nextPause } from '../../waiting.ts';
import type { PauseRange } from '../../waiting.ts';
import type { Listeners } from '../listeners/listeners.ts';
import type { Log } from '../log/log.ts';
import { readSource } from '../rules/specs.ts';
import type { Troubles } from '../troubles.ts';
import type { Routes } from './answer.ts';
import type { Events, HandedAdmin } from './events.ts';
import type { AdminServer } from './server.ts';

/** First and longest pause before it is tried again to listen, after a start that had to go without. */
const retryMs: PauseRange = { first: 1000, max: 30_000 };

/** What it is called among the troubles of `status`. */
const trouble = 'nothing is answered over HTTP (--admin)';

/** What it needs of the daemon before that is whole. */
export type AdminOptions = {
  settings: AdminSettings & { admin: string };
  listeners: Listeners;
  log: Log;
  events: Events;
};

/** What is read of files, again at every reload. */
type Secrets = { tls: TlsOptions | null; token: string | null };

/** The daemon's answers over HTTP. */
export class Admin {
  readonly #src: SourceSpec;
  readonly #endpoint: BindableServer;
  readonly #options: AdminOptions;
  #secrets: Secrets | null = null;
  #listener: Listener | null = null;
  #server: AdminServer | null = null;
  #closed: Promise<void> | null = null;
  readonly #end = new AbortController();

  constructor(options: AdminOptions) {
    const { admin } = options.settings;
    this.#options = options;
    this.#endpoint = readAdmin(admin);
    const src = readSource({ typed: `--admin ${admin}`, absolute: admin });
    // Names of its own: a rule may have the same endpoint, with port 0, on another port.
    this.#src = { ...src, key: `admin ${src.key}` };
  }

  /** The socket that a successor is to go on with; null when it could not be opened. */
  get listener(): Listener | null {
    return this.#listener;
  }

  get events(): Events {
    return this.#options.events;
  }

  /** Where it listens; undefined when it does not. */
  get address(): string | undefined {
    return this.#listener === null ? undefined : formatAddress(this.#listener.address);
  }

  /**
   * Go on with a predecessor's socket, or open one. Nobody is answered yet. Rejects with GraceError, which fails the
   * start or the restart, unless `mayGoWithout`: a daemon that crashed serves its rules all the same.
   */
  async open({ handed, mayGoWithout }: { handed: HandedAdmin | null; mayGoWithout: boolean }): Promise<void> {
    this.events.inherit(handed?.events ?? []);
    if (handed && handed.listener !== null) {
      this.#secrets = this.#read();
      this.#listener = this.#options.listeners.handedOver(this.#src, handed.listener);
      return;
    }
    try {
      await this.#listen();
    } catch (error) {
      if (!mayGoWithout && !handed) throw named(error);
    }
  }

  async #listen(): Promise<void> {
    const secrets = this.#read();
    const listener = await this.#options.listeners.open(this.#src);
    const { address } = listener;
    const isReached = address.family !== 'unix' && !isLoopback(address.host);
    if (isReached && secrets.token === null && !demandsCertificate(this.#endpoint)) {
      this.#options.listeners.close(this.#src, listener);
      throw unguardedError(formatAddress(address));
    }
    this.#secrets = secrets;
    this.#listener = listener;
  }

  #read(): Secrets {
    const endpoint = this.#endpoint;
    const file = this.#options.settings['admin-token'];
    return {
      token: file === null ? null : readToken(file),
      tls: hasTls(endpoint) ? prepareServer(endpoint, readServerParts(endpoint)).optionsFor(KEY_TYPES) : null,
    };
  }

  /** The daemon serves: answer who asks, and who has waited in the queue. Rejects when it is closed before it could listen. */
  async serve({ loadRoutes, troubles }: { loadRoutes: () => Promise<Routes>; troubles: Troubles }): Promise<void> {
    if (this.#listener) takeOverSocketPath(this.#listener);
    for (let pauseMs = retryMs.first; this.#listener === null; pauseMs = nextPause(pauseMs, retryMs)) {
      try {
        await this.#listen();
        troubles.set(trouble, null);
      } catch (error) {
        troubles.set(trouble, errorMessage(error));
        await delay(pauseMs, undefined, { signal: this.#end.signal, ref: false });
      }
    }
    const { log } = this.#options;
    const [{ serveHttp }, routes] = await Promise.all([import('./server.ts'), loadRoutes()]);
    if (this.#end.signal.aborted) return;
    const { listener } = this;
    const { token, tls } = this.#secrets!;
    this.#server = serveHttp({
      listener: listener!,
      routes,
      token,
      tls,
      // Who has shown a certificate's key or a token is no page of a stranger; a path is out of a browser's reach.
      isHostChecked: token === null && tls === null && listener!.address.family !== 'unix',
      onError: (error) => log.error({ error: errorMessage(error) }, 'a request over HTTP failed'),
    });
    log.info({ admin: this.address }, 'answering over HTTP');
  }

  /** Read certificate and token again. What cannot be read leaves everything as it was. */
  reload(): void {
    if (this.#secrets === null) return;
    try {
      this.#secrets = this.#read();
      this.#server?.renew(this.#secrets);
    } catch (error) {
      this.#options.log.error({ error: errorMessage(error) }, 'certificates not reloaded; the old ones stay');
    }
  }

  /** A successor answers on the socket: let go of it. Resolves when who was accepted here has an answer. */
  async release(): Promise<void> {
    await this.#closeServer();
    this.#listener?.close();
  }

  /** Nobody listens there any more. Resolves when who was accepted has an answer. */
  async close(): Promise<void> {
    await this.#closeServer();
    if (this.#listener?.isOpen) this.#options.listeners.close(this.#src, this.#listener);
  }

  #closeServer(): Promise<void> {
    this.#end.abort(new GraceError('the daemon ends'));
    return (this.#closed ??= this.#server?.close() ?? Promise.resolve());
  }
}

function named(error: unknown): unknown {
  if (!(error instanceof GraceError) || error.message.startsWith('--admin')) return error;
  return new GraceError(`--admin: ${error.message}`, { hint: error.hint, code: error.code, cause: error });
}
