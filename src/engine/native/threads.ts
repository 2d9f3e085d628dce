/** The threads that move bytes, as the main thread sees them. */
import { MessageChannel, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { closeFd, setNonBlocking } from '../../sys/descriptor.ts';
import { sendMessage } from '../../sys/message.ts';
import { openSocketPair } from '../../sys/socket.ts';
import { Legs } from './legs.ts';
import type { Command, Report, ThreadData } from './messages.ts';

/** Set by the build to the source of worker.ts and all that it imports; absent when run from source. */
declare const GRACE_NATIVE_WORKER: string | undefined;

/** A thread that does not end when told to is ended by force after so long. */
const STOP_TIMEOUT_MS = 2000;

/** What a thread allocates lives for a dial at most: a larger young generation only holds more of what is dead already. */
const YOUNG_MB = 2;

export type ThreadsOptions = {
  count: number;
  onReport: (thread: number, report: Report) => void;
  /** A thread ended that was not told to. */
  onDeath: (thread: number, error: Error) => void;
};

type Member = { worker: Worker; port: MessagePort; wakeFds: [number, number]; isAlive: boolean; ended: Promise<void> };

export class Threads {
  readonly legs = new Legs();
  readonly #members: Member[] = [];
  readonly #options: ThreadsOptions;
  #isClosing = false;
  /** Threads that sit in a system call would keep the process from ending. */
  readonly #atExit = () => this.#tellAll({ do: 'stop' });

  /** Start the threads. What they are told before they run waits for them. */
  constructor(options: ThreadsOptions) {
    this.#options = options;
    process.on('exit', this.#atExit);
    for (let number = 0; number < options.count; number++) this.#members.push(this.#start(number));
  }

  get count(): number {
    return this.#members.length;
  }

  /** Numbers of the threads that run. */
  get alive(): number[] {
    return [...this.#members.keys()].filter((thread) => this.#members[thread]?.isAlive);
  }

  tell(thread: number, command: Command): void {
    const member = this.#members[thread];
    if (!member?.isAlive) return;
    member.port.postMessage(command);
    wake(member);
  }

  tellAll(command: Command): void {
    this.#tellAll(command);
  }

  #tellAll(command: Command): void {
    this.#members.forEach((_, thread) => this.tell(thread, command));
  }

  #start(number: number): Member {
    const { port1, port2 } = new MessageChannel();
    const wakeFds = openSocketPair();
    for (const fd of wakeFds) setNonBlocking(fd, true);
    const data: ThreadData = { number, legs: this.legs.memory, port: port2, wakeFd: wakeFds[1] };
    const worker = openWorker(data, port2);
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const member: Member = { worker, port: port1, wakeFds, isAlive: true, ended };
    const die = (error: Error) => {
      if (!member.isAlive) return;
      member.isAlive = false;
      port1.close();
      for (const fd of wakeFds) closeFd(fd);
      end();
      if (!this.#isClosing) this.#options.onDeath(number, error);
    };
    worker.once('error', (error) => die(error instanceof Error ? error : new Error(String(error))));
    worker.once('exit', (code) => die(new Error(`thread ${number} ended with code ${code}`)));
    port1.on('message', (report: Report) => this.#options.onReport(number, report));
    return member;
  }

  /** End the threads. */
  async close(): Promise<void> {
    this.#isClosing = true;
    process.removeListener('exit', this.#atExit);
    this.#tellAll({ do: 'stop' });
    await Promise.all(
      this.#members.map(async ({ worker, ended }) => {
        const timer = setTimeout(() => void worker.terminate(), STOP_TIMEOUT_MS);
        await ended;
        clearTimeout(timer);
      }),
    );
  }
}

function wake({ wakeFds }: Member): void {
  try {
    sendMessage(wakeFds[0], new Uint8Array(1));
  } catch {
    // EAGAIN: it has been woken many times over already. EPIPE: it is gone, and 'exit' tells.
  }
}

function openWorker(data: ThreadData, port: MessagePort): Worker {
  const options = { workerData: data, transferList: [port], trackUnmanagedFds: false, resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB } };
  if (typeof GRACE_NATIVE_WORKER === 'string') return new Worker(GRACE_NATIVE_WORKER, { ...options, eval: true });
  return new Worker(new URL('./worker.ts', import.meta.url), options);
}
