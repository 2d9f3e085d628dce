/**
 * A line between two machines that is as bad as a test wants it: slow, lossy, out of order, narrow, cut. The far machine
 * is a network that this thread moves into, the near one a network that holds grace. Each has a TUN device, and what
 * one of them sends is handed to the other here, late or never: that takes no module of the kernel for it, as
 * netem would, and what is lost is drawn from a seed.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { openFunctions } from '../../src/sys/library.ts';
import { program } from '../e2e/grace.ts';
import type { Grace } from '../e2e/grace.ts';
import { randomNumbers } from '../random.ts';
import { until } from '../until.ts';

/** Flags of unshare(2), ioctl(2) and open(2), as <linux/sched.h>, <linux/if_tun.h> and <fcntl.h> have them. */
const CLONE_NEWNET = 0x40000000;
const TUNSETIFF = 0x400454can;
const IFF_TUN_NO_PI = 0x1001;
const O_RDWR_NONBLOCK_CLOEXEC = 0o2 | 0o4000 | 0o2000000;

/** Between two looks at the devices, in milliseconds. */
const lookMs = 1;
/** Longer than any packet of a device whose offloads are off, in bytes. */
const longestPacket = 65_536;

/** How a line is at the moment. */
export type Conditions = {
  /** Each packet takes so long, in milliseconds. */
  delayMs: number;
  /** And up to so much longer, each for itself: one that was sent later may come earlier. */
  jitterMs: number;
  /** This part of all packets is lost. */
  loss: number;
  /** All of them are. */
  isCut: boolean;
};

/** Why there can be no such line here; false when nothing is in the way. */
export function linkObstacle(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it takes root on Linux to make a network';
  if ('Deno' in globalThis) return 'its threads are not those of the system';
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  const missing = ['ip', 'nsenter', 'unshare'].filter((name) => spawnSync(name, ['-V']).error);
  if (missing.length > 0) return `it needs ${missing.join(', ')}`;
  return spawnSync('unshare', ['--net', '--mount', 'true']).status === 0 ? false : 'no namespaces can be made here';
}

type Libc = ReturnType<typeof openLibc>;

function openLibc() {
  return openFunctions({
    unshare: { args: ['i32'], result: 'i32' },
    open: { args: ['bytes', 'i32', 'i64'], result: 'i32' },
    ioctl: { args: ['i32', 'i64', 'bytes'], result: 'i32' },
    read: { args: ['i32', 'bytes', 'u32'], result: 'i32' },
    write: { args: ['i32', 'bytes', 'u32'], result: 'i32' },
    close: { args: ['i32'], result: 'i32' },
  }).functions;
}

let libc: Libc | undefined;
let count = 0;

/** The functions, called in the far network: where this thread has its sockets from the first call on. */
function inFarNetwork(): Libc {
  if (libc) return libc;
  const functions = openLibc();
  if (functions.unshare(CLONE_NEWNET) !== 0) throw new Error('cannot move into a network of its own');
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  return (libc = functions);
}

type Device = { name: string; fd: number };

function openDevice({ open, ioctl }: Libc, name: string): Device {
  const fd = open(Buffer.from('/dev/net/tun\0'), O_RDWR_NONBLOCK_CLOEXEC, 0n);
  const request = Buffer.alloc(40);
  request.write(name);
  request.writeUInt16LE(IFF_TUN_NO_PI, 16);
  if (fd < 0 || ioctl(fd, TUNSETIFF, request) < 0) throw new Error(`cannot make the device ${name}`);
  return { name, fd };
}

/** A line, and the near machine at its end. */
export class Link {
  /** Where the near machine is reached, and the far one, which is this thread. */
  readonly near: string;
  readonly far: string;
  /** An address beyond the line that nobody has: what is sent there is lost without an answer. */
  readonly nowhere: string;
  conditions: Conditions = { delayMs: 0, jitterMs: 0, loss: 0, isCut: false };
  /** Packets that were handed on, and that were lost. */
  passed = 0;
  lost = 0;
  readonly #functions: Libc;
  readonly #devices: readonly [Device, Device];
  readonly #holder: ChildProcess;
  readonly #random: () => number;
  readonly #buffer = Buffer.alloc(longestPacket);
  #underWay: { dueAt: number; fd: number; packet: Buffer }[] = [];
  #timer: NodeJS.Timeout | undefined;

  private constructor(number: number, { holder, seed }: { holder: ChildProcess; seed: number }) {
    // The system tries the address first that has more bits in common with its own (RFC 6724): that of nobody.
    [this.near, this.nowhere, this.far] = [4, 5, 2].map((host) => `10.78.${number}.${host}`) as [
      string,
      string,
      string,
    ];
    this.#functions = inFarNetwork();
    this.#devices = [openDevice(this.#functions, `far${number}`), openDevice(this.#functions, `near${number}`)];
    this.#holder = holder;
    this.#random = randomNumbers(seed);
  }

  /** Lay one. It goes with the test. `hosts` are lines of the near machine's /etc/hosts, made of its addresses. */
  static async open(
    t: TestContext,
    {
      dir,
      seed = 1,
      mtu = 1500,
      hosts = () => '',
    }: { dir: string; seed?: number; mtu?: number; hosts?: (link: Link) => string },
  ): Promise<Link> {
    const number = ++count;
    // It ends with its standard input, and so with this process.
    const holder = spawn('unshare', ['--net', '--mount', 'sh', '-c', 'ip link set lo up && echo up && exec cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(holder.stdout!, 'data');
    const link = new Link(number, { holder, seed });
    t.after(() => link.#close());
    const [far, near] = link.#devices;
    execFileSync('ip', ['link', 'set', near.name, 'netns', `${holder.pid}`]);
    execFileSync('ip', ['addr', 'add', `${link.far}/24`, 'dev', far.name]);
    execFileSync('ip', ['link', 'set', far.name, 'mtu', `${mtu}`, 'up']);
    const file = join(dir, `hosts-${number}`);
    writeFileSync(file, `127.0.0.1 localhost\n${hosts(link)}`);
    link.onNear(`mount --bind "${file}" /etc/hosts
      ip addr add ${link.near}/24 dev ${near.name}
      ip link set ${near.name} mtu ${mtu} up`);
    link.#carry();
    return link;
  }

  /** Run a shell's commands on the near machine, which must succeed. */
  onNear(commands: string): void {
    execFileSync('nsenter', [...this.#enter, 'sh', '-ec', commands]);
  }

  get #enter(): string[] {
    return ['-t', `${this.#holder.pid}`, '-n', '-m'];
  }

  /** Start a daemon there. */
  async startDaemon(grace: Grace, ...options: string[]): Promise<void> {
    const words = [...program, '-d', grace.dir, 'daemon', ...options, '--log', join(grace.dir, '../grace.log')];
    spawn('nsenter', [...this.#enter, ...words], { stdio: 'ignore' });
    await until('the daemon answers', async () => (await grace.run('status')).code === 0);
  }

  #carry(): void {
    const [far, near] = this.#devices;
    this.#take(far, near.fd);
    this.#take(near, far.fd);
    const now = performance.now();
    const due = this.#underWay.filter(({ dueAt }) => dueAt <= now).sort((a, b) => a.dueAt - b.dueAt);
    if (due.length > 0) this.#underWay = this.#underWay.filter(({ dueAt }) => dueAt > now);
    for (const { fd, packet } of due) this.#functions.write(fd, packet, packet.length);
    this.#timer = setTimeout(() => this.#carry(), lookMs);
  }

  #take(from: Device, fd: number): void {
    for (;;) {
      const length = this.#functions.read(from.fd, this.#buffer, longestPacket);
      if (length <= 0) return;
      const { delayMs, jitterMs, loss, isCut } = this.conditions;
      if (isCut || this.#random() < loss) {
        this.lost++;
        continue;
      }
      this.passed++;
      const dueAt = performance.now() + delayMs + this.#random() * jitterMs;
      this.#underWay.push({ dueAt, fd, packet: Buffer.from(this.#buffer.subarray(0, length)) });
    }
  }

  #close(): void {
    clearTimeout(this.#timer);
    for (const { fd } of this.#devices) this.#functions.close(fd);
    this.#holder.stdin?.end();
  }
}
