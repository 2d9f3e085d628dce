/**
 * Which destination gets a client by what its ClientHello says. The name decides first: one that is written out goes before
 * `*.`, which stands for one label, and that before `*`. Among the routes of a name, one with a protocol that the client
 * offers goes before the one without; where neither is there, the next less exact name is asked. The outer name of a client that hides the
 * inner one (ECH) is all that can be seen of it.
 */

/** What a client asks for: a name in lower case or null, and the protocols that it offers. */
export type Asked = { readonly serverName: string | null; readonly protocols: readonly string[] };

/** Where clients go that ask for `name` (`*.` before it: one label more, `*`: any name) and, unless that is null, offer `alpn`. */
export type Pattern = { readonly name: string; readonly alpn: string | null };

/** Most bytes of a ClientHello, its records included, that a choice waits for. */
export const MAX_CHOICE_BYTES = 65_536;

/** An alert of TLS (RFC 8446, section 6): fatal, unrecognized_name. In the record of TLS 1.2, as every version has it before it is agreed on. */
export const UNRECOGNIZED_NAME: Readonly<Uint8Array<ArrayBuffer>> = Uint8Array.of(21, 3, 3, 0, 2, 2, 112);

/** What was chosen for a client: the name that it asked for, and where it went as `tcp:HOST:PORT`, without parameters. */
export type Chosen = { name: string | null; to: string };

/** Chooses among patterns, however many there are. */
export class SniChoice {
  readonly #byName = new Map<string, { alpn: string | null; index: number }[]>();

  constructor(patterns: readonly Pattern[]) {
    for (const [index, { name, alpn }] of patterns.entries()) {
      const known = this.#byName.get(name);
      if (known) known.push({ alpn, index });
      else this.#byName.set(name, [{ alpn, index }]);
    }
  }

  /** The index of the pattern that a client is of; -1: of none. */
  choose({ serverName, protocols }: Asked): number {
    if (serverName === null) return -1;
    const dot = serverName.indexOf('.');
    const names = dot > 0 ? [serverName, `*${serverName.slice(dot)}`, '*'] : [serverName, '*'];
    for (const name of names) {
      const routes = this.#byName.get(name);
      if (!routes) continue;
      // In the order in which the client prefers them.
      for (const protocol of protocols) {
        const found = routes.find(({ alpn }) => alpn === protocol);
        if (found) return found.index;
      }
      const any = routes.find(({ alpn }) => alpn === null);
      if (any) return any.index;
    }
    return -1;
  }
}

/** What is known of the first bytes of a client. */
export type Heard =
  /** A whole ClientHello. */
  | { kind: 'hello'; asked: Asked }
  /** Something else; nothing at all before its end, or for as long as is waited. */
  | { kind: 'other' | 'nothing' | 'silence' }
  /** The beginning of a ClientHello that does not come to its end in time, or is too long. */
  | { kind: 'late' | 'long' };

/**
 * What is known of a client of whom so many bytes were looked at, in which ClientHelloReader found that; null: nothing yet.
 * `hasEnded`: no more will come; `isLate`: no more is waited for.
 */
export function heardOf({
  found,
  length,
  hasEnded,
  isLate,
}: {
  found: Asked | 'more' | null;
  length: number;
  hasEnded: boolean;
  isLate: boolean;
}): Heard | null {
  if (found === null) return { kind: 'other' };
  if (found !== 'more') return { kind: 'hello', asked: found };
  if (length >= MAX_CHOICE_BYTES) return { kind: 'long' };
  if (hasEnded) return { kind: length === 0 ? 'nothing' : 'other' };
  if (isLate) return { kind: length === 0 ? 'silence' : 'late' };
  return null;
}

/** Where a client goes, or why it is refused and whether it is told so by an alert; without a reason: it has gone without a word. */
export type Verdict =
  | { way: number }
  | { why: 'unknown-name' | 'handshake-failed'; reason: string; isTold: boolean }
  | { why: 'client-gone'; reason: null; isTold: false };

/** The verdict on a client; ways are the patterns in their order and then, with `hasDefault`, the one of all others. */
export function judge(
  choice: SniChoice,
  heard: Heard,
  { ways, hasDefault, limitMs }: { ways: number; hasDefault: boolean; limitMs: number },
): Verdict {
  switch (heard.kind) {
    case 'late':
      return { why: 'handshake-failed', reason: `no whole ClientHello came within ${limitMs / 1000} s`, isTold: false };
    case 'long':
      return {
        why: 'handshake-failed',
        reason: `its ClientHello is longer than ${MAX_CHOICE_BYTES / 1024} KiB`,
        isTold: false,
      };
    case 'silence':
      if (hasDefault) return { way: ways - 1 };
      return { why: 'handshake-failed', reason: `it sent nothing within ${limitMs / 1000} s`, isTold: false };
    case 'nothing':
      return hasDefault ? { way: ways - 1 } : { why: 'client-gone', reason: null, isTold: false };
    case 'other':
      if (hasDefault) return { way: ways - 1 };
      return { why: 'handshake-failed', reason: 'it does not speak TLS, and there is no default', isTold: false };
    case 'hello': {
      const way = choice.choose(heard.asked);
      if (way !== -1) return { way };
      if (hasDefault) return { way: ways - 1 };
      const { serverName } = heard.asked;
      const what = serverName === null ? 'it asks for no name' : `no destination is for ${serverName}`;
      return { why: 'unknown-name', reason: `${what}, and there is no default`, isTold: true };
    }
  }
}
