/** Addresses of names, as both engines, probes and switches ask for them. */
import { readFileSync, statSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import net from 'node:net';
import { errorCode } from '../error.ts';
import { unlessAborted, within } from '../waiting.ts';
import { NAME_FRESH_MS } from './policy.ts';

/**
 * Lookups at once, by what is known of their names: in the hosts file, so that no name server is needed;
 * not answered for `SLOW_MS`, now or when last asked for; all others. None of them waits for one of
 * another kind. The C library's resolver blocks a thread for as long as a name server is silent; see
 * `makeRoomForLookups`.
 */
const MAX_AT_ONCE = { hosts: 4, slow: 12, others: 8 };
const SLOW_MS = 500;
/** So long a new answer is awaited before the last good one is used in its place; not at all for a name that was slow last time. */
const PATIENCE_MS = 200;
/** Names whose last good answer is remembered. */
const MAX_NAMES = 1000;

/** Have so many threads that lookups do not wait for one another: libuv gives them half. To be called before its first use. */
export function makeRoomForLookups(env: NodeJS.ProcessEnv): void {
  env['UV_THREADPOOL_SIZE'] = String(2 * (MAX_AT_ONCE.hosts + MAX_AT_ONCE.slow + MAX_AT_ONCE.others));
}

/** How a name is looked up. The signal ends the wait, with its reason. */
export type ResolveOptions = {
  /** Answers are of the family of this address; null: of any. */
  bindAddress: string | null;
  signal: AbortSignal;
};

type Name = {
  readonly host: string;
  readonly family: 0 | 4 | 6;
  /** The last good answer, and when it came. */
  good: { addresses: readonly string[]; atMs: number } | null;
  /** No answer came in good time when it was last asked for. */
  isSlow: boolean;
  /** The lookup under way or waiting for its turn. */
  pending: {
    answer: Promise<readonly string[]>;
    waiters: number;
    start: (() => void) | null;
    giveUp: () => void;
  } | null;
};

type Queue = { running: number; readonly max: number; readonly waiting: Name[] };

/** Asks the system for the addresses of a name, of a family or (0) of any. Rejects with the system's error. */
export type AskSystem = (host: string, family: 0 | 4 | 6) => Promise<readonly string[]>;

/**
 * Looks names up: one lookup for all who ask for a name at the same time, and a bounded number of
 * lookups. One that nobody waits for any more does not begin. While a new answer is slow to come, or
 * the name servers do not answer, the last good one is used.
 */
export class Names {
  readonly #ask: AskSystem;
  readonly #hosts: HostsFile;
  readonly #names = new Map<string, Name>();
  readonly #queues = {
    hosts: openQueue(MAX_AT_ONCE.hosts),
    slow: openQueue(MAX_AT_ONCE.slow),
    others: openQueue(MAX_AT_ONCE.others),
  };

  constructor({ ask = askSystem, hostsFile = '/etc/hosts' }: { ask?: AskSystem; hostsFile?: string } = {}) {
    this.#ask = ask;
    this.#hosts = new HostsFile(hostsFile);
  }

  /** The addresses of a host, both families in turn. Rejects with the system's error (`code`: ENOTFOUND, EAI_AGAIN, …), or the signal's reason. */
  async resolve(host: string, { bindAddress, signal }: ResolveOptions): Promise<readonly string[]> {
    if (net.isIP(host) !== 0) return [host];
    const name = this.#name(host, bindAddress === null ? 0 : (net.isIP(bindAddress) as 0 | 4 | 6));
    if (name.good !== null && performance.now() - name.good.atMs < NAME_FRESH_MS) return name.good.addresses;
    const pending = (name.pending ??= this.#begin(name));
    pending.waiters++;
    try {
      const { good } = name;
      const answer =
        good === null
          ? pending.answer
          : within(pending.answer, name.isSlow ? 0 : PATIENCE_MS, { onLate: () => good.addresses });
      return await unlessAborted(answer, signal);
    } finally {
      pending.waiters--;
      if (pending.waiters === 0 && pending.start !== null) pending.giveUp();
    }
  }

  #name(host: string, family: 0 | 4 | 6): Name {
    const key = `${family} ${host}`;
    const known = this.#names.get(key);
    if (known) return known;
    for (const [other, { pending }] of this.#names) {
      if (this.#names.size < MAX_NAMES) break;
      if (pending === null) this.#names.delete(other);
    }
    const name: Name = { host, family, good: null, isSlow: false, pending: null };
    this.#names.set(key, name);
    return name;
  }

  #begin(name: Name): NonNullable<Name['pending']> {
    let queue = this.#queues[this.#hosts.has(name.host) ? 'hosts' : name.isSlow ? 'slow' : 'others'];
    const { promise: answer, resolve, reject } = Promise.withResolvers<readonly string[]>();
    answer.catch(() => {}); // nobody may be left who waits
    const takesLong = () => {
      name.isSlow = true;
      const { slow, others } = this.#queues;
      if (queue !== others || slow.running === slow.max) return;
      slow.running++;
      leave(queue);
      queue = slow;
    };
    const run = async () => {
      queue.running++;
      pending.start = null;
      const timer = setTimeout(takesLong, SLOW_MS);
      const begin = performance.now();
      try {
        const addresses = inTurn(await this.#ask(name.host, name.family));
        name.good = { addresses, atMs: performance.now() };
        resolve(addresses);
      } catch (error) {
        const isDenied = errorCode(error) === 'ENOTFOUND';
        if (isDenied) name.good = null;
        // Name servers that say nothing, or nothing of use, do not take back what they said before.
        if (name.good !== null) resolve(name.good.addresses);
        else reject(error);
      } finally {
        clearTimeout(timer);
        name.isSlow = performance.now() - begin >= SLOW_MS;
        name.pending = null;
        leave(queue);
      }
    };
    const pending: NonNullable<Name['pending']> = {
      answer,
      waiters: 0,
      start: () => void run(),
      giveUp: () => {
        name.pending = null;
        queue.waiting.splice(queue.waiting.indexOf(name), 1);
      },
    };
    if (queue.running < queue.max) void run();
    else queue.waiting.push(name);
    return pending;
  }
}

function openQueue(max: number): Queue {
  return { running: 0, max, waiting: [] };
}

/** One lookup less: the next may begin. */
function leave(queue: Queue): void {
  queue.running--;
  queue.waiting.shift()?.pending?.start?.();
}

const askSystem: AskSystem = async (host, family) =>
  (await lookup(host, { all: true, order: 'verbatim', family })).map(({ address }) => address);

/** The first address's family starts, then the families alternate (RFC 8305, section 4). */
function inTurn(addresses: readonly string[]): string[] {
  const firstFamily = net.isIP(addresses[0] ?? '');
  const first = addresses.filter((address) => net.isIP(address) === firstFamily);
  const second = addresses.filter((address) => net.isIP(address) !== firstFamily);
  return first.length >= second.length
    ? first.flatMap((address, index) => [address, ...second.slice(index, index + 1)])
    : second.flatMap((address, index) => [...first.slice(index, index + 1), address]);
}

/** Which names the hosts file has (hosts(5)). It is read again when it has changed. */
class HostsFile {
  readonly #path: string;
  #readAs = '';
  #names = new Set<string>();

  constructor(path: string) {
    this.#path = path;
  }

  has(host: string): boolean {
    try {
      const { mtimeMs, size, ino } = statSync(this.#path);
      const isAs = `${mtimeMs} ${size} ${ino}`;
      if (isAs !== this.#readAs) {
        this.#names = namesIn(readFileSync(this.#path, 'latin1'));
        this.#readAs = isAs;
      }
    } catch {
      this.#names.clear(); // without it every name is for a name server
    }
    return this.#names.has(host.toLowerCase());
  }
}

function namesIn(text: string): Set<string> {
  const lines = text.split('\n').map((line) => line.replace(/#.*/, '').trim());
  return new Set(lines.flatMap((line) => line.toLowerCase().split(/\s+/).slice(1)));
}
