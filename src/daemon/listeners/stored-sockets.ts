import { isListenerName, listenerName } from './name.ts';
import type { InheritedSocket } from './inherited-sockets.ts';
import { isAt } from './spec.ts';
import type { TicketSnapshot } from '../../engine/ticket-ring.ts';
import type { StoredRule } from '../state/rules-file.ts';
import { isRulesCopy, readRulesCopy } from '../state/rules-memory.ts';
import { isTicketsCopy, readTicketsCopy } from '../state/tickets-memory.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { storeNames, parseInherited } from '../../keeper/messages.ts';
import { takeOpened } from '../../keeper/opened.ts';
import { LISTEN_FDS_START } from '../../net/inherit.ts';
import type { Environment } from '../../net/inherit.ts';
import { adoptFd } from '../../net/listener.ts';
import type { Listener } from '../../net/listener.ts';
import type { ListenSpec } from '../../net/open.ts';
import { removeSocketPath } from '../../net/unix-path.ts';

/** With what a process is started. */
type Given = {
  /** What was passed by LISTEN_FDS: the listening sockets, and the other descriptors. */
  listeners: readonly Listener[];
  others: readonly { fd: number; name: string }[];
  env: Environment;
};

/** A socket of the store. */
type StoredSocket = {
  listener: Listener;
  /** Whether the supervisor has it under the name that its source has now. */
  isStored: boolean;
};

/**
 * What an earlier daemon that crashed, or was stopped to be started again, had put into the fd store: the sockets of its
 * rules, which wait for these, its lock, and what it knew in memory alone. The keeper hands it out by itself; systemd
 * passes it together with the sockets of its own. A successor has nothing of it: its predecessor passes what it needs.
 */
export class StoredSockets {
  readonly #supervisor: Supervisor;
  readonly #sockets = new Map<string, Listener>();
  /** Of these, those that the supervisor has not got. */
  readonly #unheard = new Set<string>();
  #lockFd: number | null = null;
  #rulesCopy: StoredRule[] | null = null;
  #ticketsCopy: TicketSnapshot | null = null;

  constructor(supervisor: Supervisor) {
    this.#supervisor = supervisor;
  }

  /** Take what was stored out of all that this process was given. Returns what is left: the sockets that were inherited, by this process or the earlier one. */
  take({ listeners, others, env }: Given): InheritedSocket[] {
    const inherited: InheritedSocket[] = [];
    for (const listener of listeners) {
      const { fd, name } = listener;
      if (isListenerName(name) || name === storeNames.control) this.#sockets.set(name, listener);
      else inherited.push({ listener, fd, index: fd - LISTEN_FDS_START, name });
    }
    inherited.push(...this.#takeFromSupervisor());
    // What this process opened while it was root waits for its rules in the same way.
    for (const [name, fd] of takeOpened(env)) {
      this.#sockets.set(name, adoptFd(fd, { name }));
      this.#unheard.add(name);
    }
    for (const { fd, name } of others) if (isTicketsCopy(name)) this.#takeTickets(name, fd);
    return inherited;
  }

  /** Returns the sockets that the earlier daemon had inherited. */
  #takeFromSupervisor(): InheritedSocket[] {
    const sockets: InheritedSocket[] = [];
    for (const [name, fd] of this.#supervisor.takeStored()) {
      if (isRulesCopy(name)) {
        this.#rulesCopy ??= readRulesCopy(fd);
        this.#supervisor.forget(name);
        continue;
      }
      if (isTicketsCopy(name)) {
        this.#takeTickets(name, fd);
        continue;
      }
      if (name === storeNames.lock) {
        this.#lockFd = fd;
        continue;
      }
      const inherited = parseInherited(name);
      const listener = adoptFd(fd, { name: inherited?.name ?? name });
      if (inherited) sockets.push({ listener, ...inherited });
      else this.#sockets.set(name, listener);
    }
    return sockets;
  }

  #takeTickets(name: string, fd: number): void {
    this.#ticketsCopy ??= readTicketsCopy(fd);
    this.#supervisor.forget(name);
  }

  /** Descriptor of the lock of the state dir; null without one. */
  get lockFd(): number | null {
    return this.#lockFd;
  }

  /** The rules that a daemon which crashed had left with the keeper; null without any. */
  get rulesCopy(): readonly StoredRule[] | null {
    return this.#rulesCopy;
  }

  /** The keys of session tickets that a daemon which crashed had left; null without any. */
  get ticketsCopy(): TicketSnapshot | null {
    return this.#ticketsCopy;
  }

  /** The control socket of a daemon that crashed, whose clients wait in its queue; null without one. */
  takeControl(): Listener | null {
    const listener = this.#sockets.get(storeNames.control) ?? null;
    this.#sockets.delete(storeNames.control);
    return listener;
  }

  /** The socket that an earlier daemon had for this source: by name, or by address if that one was of a version with other names. */
  takeFor(src: SourceSpec, spec: ListenSpec): StoredSocket | null {
    const wanted = listenerName(src);
    const listener =
      this.#sockets.get(wanted) ?? [...this.#sockets.values()].find(({ address }) => isAt(address, spec));
    if (!listener) return null;
    this.#sockets.delete(listener.name);
    if (listener.name !== wanted) this.#supervisor.forget(listener.name);
    return { listener, isStored: listener.name === wanted && !this.#unheard.delete(wanted) };
  }

  /** Close what no rule has taken. */
  dropRest(): void {
    for (const [name, listener] of this.#sockets) {
      this.#supervisor.forget(name);
      removeSocketPath(listener);
      listener.close();
    }
    this.#sockets.clear();
  }
}
