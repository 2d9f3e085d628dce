/** One thread's life: wait for events, give each to whom it concerns, do what time has made due. */
import {
  CONNECTING,
  FROZEN,
  HEADING,
  KIND_CLIENT,
  KIND_LISTENER,
  KIND_SERVER,
  LINGERING,
  SHAKING,
} from './connection-table.ts';
import { readClock } from './clock.ts';
import { executeCommand } from './commands.ts';
import { EPOLLIN } from './epoll-events.ts';
import { EINTR } from './errno.ts';
import type { ThreadCommand, ThreadData } from './messages.ts';
import { openRoles } from './roles.ts';
import type { Roles } from './roles.ts';

/** Longest wait, in milliseconds. Whoever wants something of a thread wakes it; this is for a wake-up that was lost. */
const MAX_WAIT_MS = 60_000;

/** The loop of the calling thread. */
export class Loop {
  readonly #roles: Roles;
  #isStopped = false;

  constructor(data: ThreadData) {
    this.#roles = openRoles(data, (command) => this.#execute(command));
  }

  /** Returns when the thread is told to stop. Throws when the system does not let it wait. */
  run(): void {
    const { thread, mailbox, firstFlight, relay, tls } = this.#roles;
    const { kernel, table } = thread;
    kernel.watch(mailbox.wakeFd, EPOLLIN, 0);
    while (!this.#isStopped) {
      const count = kernel.wait(this.#waitMs());
      if (count < 0 && count !== -EINTR) throw new Error(`epoll_wait failed with errno ${-count}`);
      thread.now = readClock();
      for (let index = 0; index < count; index++) {
        this.#handle(kernel.eventFd(index), kernel.eventGeneration(index), kernel.eventMask(index));
      }
      firstFlight.endRound();
      this.#runDue();
    }
    mailbox.flush();
    relay.close();
    tls.close();
    table.close(kernel.epollFd);
    kernel.closeEpoll();
  }

  #execute(command: ThreadCommand): void {
    if (command.type === 'stop') this.#isStopped = true;
    else executeCommand(this.#roles, command);
  }

  #waitMs(): number {
    const { thread, dialer, chooser, acceptor, relay, keepAlive, idle, lifetime, linger, headers, mailbox } =
      this.#roles;
    if (relay.hasQueue) return 0;
    const next = Math.min(
      dialer.wakeAt,
      chooser.wakeAt,
      acceptor.wakeAt,
      relay.wakeAt,
      keepAlive.wakeAt,
      idle.wakeAt,
      lifetime.wakeAt,
      linger.wakeAt,
      headers.wakeAt,
      mailbox.wakeAt,
    );
    if (next === Infinity) return MAX_WAIT_MS;
    return Math.min(Math.max(0, Math.ceil(next - thread.now)), MAX_WAIT_MS);
  }

  #runDue(): void {
    const { thread, dialer, chooser, acceptor, relay, keepAlive, idle, lifetime, mailbox, linger, headers } =
      this.#roles;
    relay.runQueue();
    chooser.runDue();
    dialer.runDue();
    acceptor.runDue();
    keepAlive.runDue();
    idle.runDue();
    linger.runDue();
    headers.runDue();
    lifetime.runDue();
    mailbox.runDue(thread.now);
  }

  #handle(fd: number, generation: number, mask: number): void {
    const { thread, mailbox, acceptor, clientHandshakes, dialer, connections, relay, linger } = this.#roles;
    if (fd === mailbox.wakeFd) return thread.readMailbox();
    const { table } = thread;
    // The descriptor was closed, and perhaps opened anew, earlier in this round.
    if (table.generation(fd) !== generation) return;
    const state = table.state(fd);
    if (state & FROZEN) return;
    if (state & KIND_LISTENER) return acceptor.handle(fd);
    if (state & SHAKING) return state & KIND_SERVER ? dialer.shaken(fd) : clientHandshakes.shaken(fd, mask);
    if (state & HEADING) return clientHandshakes.handleHeading(fd, mask);
    if (state & LINGERING) return linger.handle(fd);
    if (state & CONNECTING && !dialer.handle(fd, mask)) return;
    // It may have ended as soon as it began.
    if (table.generation(fd) !== generation) return;
    if (state & KIND_CLIENT && table.other(fd) === -1) return connections.handleWaiting(fd, mask);
    relay.handle(fd, mask);
  }
}
