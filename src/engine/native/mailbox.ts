/** How a thread and the main thread reach each other: commands that come in, and reports that go out. */
import type { MessagePort } from 'node:worker_threads';
import { receiveMessageOnPort } from 'node:worker_threads';
import type { ConnectionTable } from './connection-table.ts';
import { EndBatch } from './end-batch.ts';
import type { QuietEnd } from './end-batch.ts';
import { Heartbeat } from './heartbeat.ts';
import type { Kernel } from './kernel.ts';
import type { EndReport, Report, ThreadCommand, ThreadData } from './messages.ts';

/** The mailbox of one thread. */
export class Mailbox {
  /** Readable when commands have come. It is the main thread's to close. */
  readonly wakeFd: number;
  readonly #port: MessagePort;
  readonly #heartbeat: Heartbeat;
  readonly #kernel: Kernel;
  /** Connections that ended since reports were last sent. */
  #ends: EndReport[] = [];
  readonly #quiet = new EndBatch();

  constructor(kernel: Kernel, { port, wakeFd, heartbeat }: Pick<ThreadData, 'port' | 'wakeFd' | 'heartbeat'>) {
    this.wakeFd = wakeFd;
    this.#port = port;
    this.#heartbeat = new Heartbeat(heartbeat);
    this.#kernel = kernel;
  }

  /** Give each command that has come to `execute`, in order. May be called while one is carried out. */
  read(execute: (command: ThreadCommand) => void): void {
    this.#kernel.receive(this.wakeFd);
    for (let received = receiveMessageOnPort(this.#port); received; received = receiveMessageOnPort(this.#port)) {
      execute(received.message as ThreadCommand);
      this.#heartbeat.beat();
    }
  }

  /** What the main thread does next may look for the reports of connections that have ended: they come first. */
  send(report: Report): void {
    this.flush();
    this.#port.postMessage(report);
  }

  /** Report the end of a connection with the next flush, or before the next report. */
  addEnd(end: EndReport): void {
    this.#ends.push(end);
  }

  /** Report an end that nobody waits for, before the next report or with others. */
  addQuietEnd(table: ConnectionTable, client: number, end: QuietEnd, now: number): void {
    this.#quiet.add(table, client, end, now);
    if (this.#quiet.isFull) this.flush();
  }

  /** When ends that nobody waits for are to be sent. */
  get wakeAt(): number {
    return this.#quiet.wakeAt;
  }

  /** Send those whose time has come. */
  runDue(now: number): void {
    if (this.#ends.length > 0 || now >= this.#quiet.wakeAt) this.flush();
  }

  /** Send the ends that have been added, in one message. */
  flush(): void {
    const quiet = this.#quiet.take();
    if (quiet !== null) this.#port.postMessage({ type: 'ended-quietly', ends: quiet } satisfies Report);
    if (this.#ends.length === 0) return;
    const ends = this.#ends;
    this.#ends = [];
    this.#port.postMessage({ type: 'ended', ends } satisfies Report);
  }
}
