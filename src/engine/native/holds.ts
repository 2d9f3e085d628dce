/** The holds that the threads know, by number, and what the main thread does about them. */
import { closeFd } from '../../sys/descriptor.ts';
import { setResetOnClose } from '../../sys/socket.ts';
import type { Upstream } from '../engine.ts';
import type { Hold } from '../hold.ts';
import type { NativeFrontend } from './frontend.ts';
import type { SurrenderedClient } from './messages.ts';
import type { Threads } from './threads.ts';
import { NativeUpstream } from './upstream.ts';

type Row = { readonly hold: WeakRef<Hold<Upstream>>; frontend: NativeFrontend | null };

/** Tells the threads what happens to holds, and the holds what threads report. */
export class NativeHolds {
  readonly #threads: Threads;
  readonly #ids = new WeakMap<Hold<Upstream>, number>();
  readonly #rows = new Map<number, Row>();
  readonly #forgotten = new FinalizationRegistry((id: number) => void this.#rows.delete(id));
  #lastId = 0;

  constructor(threads: Threads) {
    this.#threads = threads;
  }

  /** Its number in the threads, which hear of it from now on. */
  idOf(hold: Hold<Upstream>): number {
    const known = this.#ids.get(hold);
    if (known !== undefined) return known;
    const id = ++this.#lastId;
    this.#ids.set(hold, id);
    this.#rows.set(id, { hold: new WeakRef(hold), frontend: null });
    this.#forgotten.register(hold, id);
    hold.watch({
      ended: () => this.#threads.sendToAll({ type: 'release-held', hold: id }),
      routed: (upstream) => this.#route(id, upstream),
    });
    return id;
  }

  /** Null: its rule is no more. */
  get(id: number): Hold<Upstream> | null {
    return this.#rows.get(id)?.hold.deref() ?? null;
  }

  /** Who accepts the clients of the rule now. */
  setFrontend(hold: Hold<Upstream>, frontend: NativeFrontend): void {
    const row = this.#rows.get(this.idOf(hold));
    if (row) row.frontend = frontend;
  }

  /** It accepts no more. */
  frontendStopped(hold: Hold<Upstream>, frontend: NativeFrontend): void {
    const row = this.#rows.get(this.idOf(hold));
    if (row?.frontend === frontend) row.frontend = null;
  }

  #route(id: number, upstream: Upstream): void {
    if (upstream instanceof NativeUpstream && upstream.isInThreads)
      this.#threads.sendToAll({ type: 'route-held', hold: id, upstream: upstream.id });
    else this.#threads.sendToAll({ type: 'surrender-held', hold: id });
  }

  /** Clients that waited come out of a thread: whoever accepts in its place serves them. */
  surrendered(id: number, clients: readonly SurrenderedClient[]): void {
    const frontend = this.#rows.get(id)?.frontend;
    for (const client of clients) {
      if (frontend) frontend.takeIn(client);
      else {
        setResetOnClose(client.fd);
        closeFd(client.fd);
      }
    }
  }
}
