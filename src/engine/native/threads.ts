/** The threads that move bytes, as the main thread sees them. */
import { MessageChannel, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { closeFd, setNonBlocking } from '../../sys/descriptor.ts';
import { sendMessage } from '../../sys/message.ts';
import { awaitCompiler } from '../../sys/compiler.ts';
import { exposeCollect } from '../../sys/garbage.ts';
import { exitAtOnce } from '../../sys/process.ts';
import { openSocketPair } from '../../sys/socket.ts';
import { within } from '../../waiting.ts';
import type { TotalSlots } from '../total-slots.ts';
import { ConnectionTable } from './connection-table.ts';
import type { ThreadCommand, Report, ThreadData } from './messages.ts';
import { Heartbeat } from './heartbeat.ts';

/** Set by the build to the source of worker.ts and all that it imports; absent when run from source. */
declare const GRACE_NATIVE_WORKER: string | undefined;

/** A thread that does not end when sent to is ended by force after so long. */
const STOP_TIMEOUT_MS = 2000;
/** Commands are carried out in milliseconds. Where none was for twice so long, the thread is taken for dead. */
const ANSWER_TIMEOUT_MS = 5000;
/** After its error the end of a thread is known soon; on Deno it is not always sent. */
const END_AFTER_ERROR_MS = 500;

/** Longest that it is waited for threads to do what they have been told, in milliseconds. */
export const SETTLE_MS = 1000;

/** What a thread allocates lives for a dial at most: a larger young generation only holds more of what is dead already. */
const YOUNG_MB = 2;

/** How many threads there are, and who hears of them. */
export type ThreadsOptions = {
  count: number;
  onReport: (thread: number, report: Report) => void;
  /** A thread ended that was not sent to. */
  onDeath: (thread: number, error: Error) => void;
  /** Default 5000. */
  answerTimeoutMs?: number | undefined;
  /** How long a thread may take to end that is sent to. Default 2000. */
  stopTimeoutMs?: number | undefined;
  /** The connection table that they work on. Default: a new one. */
  table?: ConnectionTable;
  /** The places of all connections. Default: no limit. */
  total?: TotalSlots | null;
  /** They shake hands instead of moving bytes. */
  handshakes?: ThreadData['handshakes'];
  /** Start a thread. Default: one that runs worker.ts. */
  startWorker?: StartWorker | undefined;
};

/** `port` is to be transferred to the thread. */
export type StartWorker = (data: ThreadData, port: MessagePort) => Worker;

type Member = {
  worker: Worker;
  port: MessagePort;
  wakeFds: [number, number];
  heartbeat: Heartbeat;
  isAlive: boolean;
  /** It is about to be told to look for commands. */
  isWakeDue: boolean;
  ended: Promise<void>;
  /** Commands that it was sent. */
  sent: number;
  /** Runs while it has not carried out all of them. */
  watch: NodeJS.Timeout | null;
  die(error: Error): void;
};

/** The threads of an engine: started, told what to do, watched, ended. */
export class Threads {
  readonly table: ConnectionTable;
  readonly #members: Member[] = [];
  readonly #options: ThreadsOptions;
  /** Called when a thread has answered, by the number of the question. */
  readonly #questions = new Map<number, () => void>();
  #lastQuestion = 0;
  #isClosing = false;
  /** The runtime waits for threads when it ends, and those that sit in a system call would keep it. */
  readonly #atExit = (code: number) => {
    this.sendToAll({ type: 'stop' });
    const until = performance.now() + this.#stopTimeoutMs;
    const haveStopped = this.#members.map(({ heartbeat }) =>
      heartbeat.waitForStop(Math.max(0, until - performance.now())),
    );
    if (haveStopped.includes(false)) exitAtOnce(code);
    awaitCompiler();
  };

  /** Start the threads. What they are sent before they run waits for them. Throws, and leaves nothing, when one cannot be started. */
  constructor(options: ThreadsOptions) {
    this.#options = options;
    this.table = options.table ?? new ConnectionTable();
    exposeCollect();
    process.on('exit', this.#atExit);
    try {
      for (let number = 0; number < options.count; number++) this.#members.push(this.#start(number));
    } catch (error) {
      void this.close();
      throw error;
    }
  }

  get #stopTimeoutMs(): number {
    return this.#options.stopTimeoutMs ?? STOP_TIMEOUT_MS;
  }

  get count(): number {
    return this.#members.length;
  }

  /** Numbers of the threads that run. */
  get alive(): number[] {
    return [...this.#members.keys()].filter((thread) => this.#members[thread]?.isAlive);
  }

  send(thread: number, command: ThreadCommand): void {
    const member = this.#members[thread];
    if (!member?.isAlive) return;
    member.port.postMessage(command);
    member.sent = (member.sent + 1) | 0;
    if (AT_ONCE.has(command.type)) wake(member);
    else wakeSoon(member);
    this.#watch(member, { since: member.heartbeat.executed, isLate: false });
  }

  sendToAll(command: ThreadCommand): void {
    this.#members.forEach((_, thread) => this.send(thread, command));
  }

  /** Resolves when the threads have carried out all that they were sent until now, or have ended. */
  async settled(): Promise<void> {
    await Promise.all(
      this.alive.map(async (thread) => {
        const question = ++this.#lastQuestion;
        const answered = new Promise<void>((resolve) => this.#questions.set(question, resolve));
        this.send(thread, { type: 'answer', question });
        await Promise.race([answered, this.#members[thread]!.ended]);
        this.#questions.delete(question);
      }),
    );
  }

  /** See that what it was sent is carried out. A process that was stopped for a while itself is late, too: only the second time counts. */
  #watch(member: Member, { since, isLate }: { since: number; isLate: boolean }): void {
    if (member.watch !== null) return;
    member.watch = setTimeout(() => {
      member.watch = null;
      const { executed } = member.heartbeat;
      if (!member.isAlive || executed === member.sent) return;
      // One that cannot be loaded ends with an error of its own.
      const isSilent = executed === since && member.heartbeat.hasStarted;
      if (!isSilent || !isLate) return this.#watch(member, { since: executed, isLate: isSilent });
      member.die(new Error(`thread ${this.#members.indexOf(member)} does not answer`));
      abandon(member.worker);
    }, this.#options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS).unref();
  }

  #start(number: number): Member {
    const { port1, port2 } = new MessageChannel();
    const wakeFds = openSocketPair();
    const heartbeat = new Heartbeat();
    let worker: Worker;
    try {
      for (const fd of wakeFds) setNonBlocking(fd, true);
      const data: ThreadData = {
        number,
        table: this.table.memory,
        port: port2,
        wakeFd: wakeFds[1],
        heartbeat: heartbeat.memory,
        total: this.#options.total?.plan ?? null,
        handshakes: this.#options.handshakes,
      };
      worker = (this.#options.startWorker ?? openWorker)(data, port2);
    } catch (error) {
      port1.close();
      for (const fd of wakeFds) closeFd(fd);
      throw error;
    }
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const die = (error: Error) => {
      if (!member.isAlive) return;
      member.isAlive = false;
      if (member.watch !== null) clearTimeout(member.watch);
      port1.close();
      for (const fd of wakeFds) closeFd(fd);
      end();
      if (!this.#isClosing) this.#options.onDeath(number, error);
    };
    const member: Member = {
      worker,
      port: port1,
      wakeFds,
      heartbeat,
      isAlive: true,
      isWakeDue: false,
      ended,
      sent: 0,
      watch: null,
      die,
    };
    // What it had open is closed then, so it must have come to its end.
    let failure: Error | null = null;
    worker.on('error', (error) => {
      failure ??= error instanceof Error ? error : new Error(String(error));
      setTimeout(die, END_AFTER_ERROR_MS, failure);
    });
    worker.once('exit', (code) => {
      heartbeat.stop();
      die(failure ?? new Error(`thread ${number} ended with code ${code}`));
    });
    port1.on('message', (report: Report) => {
      if (report.type === 'answered') this.#questions.get(report.question)?.();
      else if (member.isAlive) this.#options.onReport(number, report);
    });
    return member;
  }

  /** End the threads. One that cannot be ended is left behind. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.sendToAll({ type: 'stop' });
    await Promise.all(
      this.#members.map(async ({ worker, ended, die }) => {
        await within(ended, this.#stopTimeoutMs, { onLate: () => void worker.terminate() });
        const leave = () => {
          die(new Error('a thread does not end'));
          abandon(worker);
        };
        await within(ended, this.#stopTimeoutMs, { onLate: leave });
      }),
    );
    // Not before, and not with one left behind: the process may be ended.
    if (this.#members.every(({ heartbeat }) => heartbeat.waitForStop(0))) process.removeListener('exit', this.#atExit);
  }
}

/**
 * Commands that a thread is woken for without delay: once it is told that files are in use, the thread hears of them before it
 * hears of any client that comes later.
 */
const AT_ONCE: ReadonlySet<ThreadCommand['type']> = new Set<ThreadCommand['type']>([
  'stop',
  'set-context',
  'set-upstream-tls',
]);

/** Once for all that is sent until then: thousands of rules are opened at a time. */
function wakeSoon(member: Member): void {
  if (member.isWakeDue) return;
  member.isWakeDue = true;
  queueMicrotask(() => {
    member.isWakeDue = false;
    if (member.isAlive) wake(member);
  });
}

function wake({ wakeFds }: Member): void {
  try {
    sendMessage(wakeFds[0], new Uint8Array(1));
  } catch {
    // EAGAIN: it has been woken many times over already. EPIPE: it is gone, and 'exit' tells.
  }
}

/** End a thread without waiting for it: it may sit in a system call. */
function abandon(worker: Worker): void {
  void worker.terminate();
  worker.unref();
}

function openWorker(data: ThreadData, port: MessagePort): Worker {
  const options = {
    workerData: data,
    transferList: [port],
    trackUnmanagedFds: false,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
  };
  if (typeof GRACE_NATIVE_WORKER === 'string') return new Worker(GRACE_NATIVE_WORKER, { ...options, eval: true });
  return new Worker(new URL('./worker.ts', import.meta.url), options);
}
