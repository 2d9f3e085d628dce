/** The rules of a soak: one for each kind of connections, with two destinations each to switch between. */
import { join } from 'node:path';
import type { Accounts } from './accounts.ts';
import type { Daemon } from './daemon.ts';
import { Destination } from './destination.ts';
import type { Pacer } from './pacer.ts';
import { kinds } from './plan.ts';
import type { Kind } from './plan.ts';

/** A pair of key and certificate, signed by itself for `localhost`, in files and as text. */
export type Identity = { keyFile: string; certFile: string; caDir: string; key: string; cert: string };

/** What all rules have in common. */
export type Ground = {
  daemon: Daemon;
  accounts: Accounts;
  pacer: Pacer;
  /** An address of this machine that nobody else listens on. */
  host: string;
  dir: string;
  /** Null where no certificate could be made; then there is no kind with TLS. */
  identity: Identity | null;
};

/** See the head of the file. */
export class Rule {
  readonly kind: Kind;
  /** What it is called in commands. */
  readonly name: string;
  readonly src: string;
  readonly destinations: readonly [Destination, Destination];
  /** Where it listens. */
  address: { host: string; port: number } | { path: string } = { path: '' };
  /** Which of its destinations new connections go to; null while that changes. */
  current: Destination | null;
  readonly #ground: Ground;

  constructor(kind: Kind, ground: Ground) {
    const { host, dir, accounts, pacer, identity } = ground;
    this.kind = kind;
    this.name = `soak-${kind}`;
    this.#ground = ground;
    const speaksTls = kind === 'tls-through' || kind === 'tls-dialled';
    const make = (name: string) =>
      new Destination({
        name: `${kind} ${name}`,
        at: kind === 'unix' ? { path: join(dir, `${name}.sock`) } : { host },
        isTold: kind.startsWith('proxy'),
        identity: speaksTls ? identity : null,
        accounts,
        pacer,
      });
    this.destinations = [make('A'), make('B')];
    this.current = this.destinations[0];
    // Below the ports that the kernel gives to whoever connects.
    const tcp = `${2000 + kinds.indexOf(kind)}:interface=${host}`;
    // Clients are here where the servers are, on a machine that may be busy: they are not to be thought silent.
    this.src =
      kind === 'unix'
        ? `unix:${join(dir, 'source.sock')}`
        : kind === 'tls'
          ? `ssl:${tcp}:privateKey=${identity?.keyFile}:certKey=${identity?.certFile}:handshakeTimeout=2m`
          : `tcp:${tcp}${kind === 'proxy-accepted' ? ':proxy=accept:headerTimeout=2m' : ''}`;
  }

  /** Have it served. */
  async start(): Promise<void> {
    const { daemon } = this.#ground;
    for (const destination of this.destinations) await destination.open();
    await daemon.ok('start', '--name', this.name, this.src, this.dst(this.destinations[0]));
    const listening = (await daemon.rows()).find(({ name }) => name === this.name)?.listening ?? '';
    const [, host = '', port = ''] = /^(.*):([0-9]+)$/.exec(listening) ?? [];
    this.address = this.kind === 'unix' ? { path: listening } : { host, port: Number(port) };
  }

  /** How a destination is told to grace. */
  dst(destination: Destination): string {
    const { port } = destination;
    const endpoint = `${destination.endpoint}:timeout=120`;
    if (this.kind === 'proxy-sent') return `${endpoint}:proxy=v2`;
    if (this.kind === 'proxy-accepted') return `${endpoint}:proxy=v1`;
    const { host, identity } = this.#ground;
    return this.kind === 'tls-dialled'
      ? `tls:${host}:${port}:timeout=120:serverName=localhost:trustRoots=${identity?.caDir}`
      : endpoint;
  }

  /** Send new connections to its other destination. */
  async switchOver({ checks }: { checks: boolean }): Promise<Destination> {
    const [a, b] = this.destinations;
    const next = this.current === a ? b : a;
    this.current = null;
    // Those that were begun before the switch may come to either.
    for (const entry of this.#ground.accounts.open.values())
      if (entry.plan.kind === this.kind && entry.cameTo === null) entry.expects = null;
    await this.#ground.daemon.ok('switch', this.name, this.dst(next), ...(checks ? [] : ['--no-check']));
    this.current = next;
    return next;
  }

  stop(): void {
    for (const destination of this.destinations) destination.crash();
  }
}
