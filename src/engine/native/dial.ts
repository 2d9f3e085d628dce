/** Connecting accepted clients to their destination. The mirror image of accept.ts. */
import { codeOfErrno } from '../../sys/system-error.ts';
import { nextPause } from '../../waiting.ts';
import { dialReason, TIMED_OUT } from '../closing-reason.ts';
import type { ClosingReason } from '../closing-reason.ts';
import { errnosOf, FULL_QUEUE_PAUSE_MS, REFUSALS, RETRY_PAUSE_MS, SHORTAGE_PAUSE_MS, SHORTAGES } from '../policy.ts';
import type { DialAge } from '../transfer.ts';
import { areAllPortsTaken, isConnectedToItself, startConnect } from './connect.ts';
import type { FirstFlight } from './first-flight.ts';
import { EADDRNOTAVAIL, EAGAIN, ECONNREFUSED, EPOLLERR, EPOLLHUP, EPOLLOUT } from './kernel.ts';
import type { PinnedAddress } from './kernel.ts';
import { CONNECTING } from './connection-table.ts';
import { headStartMs, nextIndex, NO_FAILURES, openDial, removeTry, setAddresses } from './dial-state.ts';
import type { Dial } from './dial-state.ts';
import { describeLateLookup } from '../words.ts';
import { OUT_OF_PORTS, OUT_OF_TIME } from './messages.ts';
import type { EndReason, Resolved } from './messages.ts';
import type { ResolvedAddresses, Thread } from './thread.ts';
import { wayOf } from './way.ts';

const SHORTAGE_ERRNOS = errnosOf(SHORTAGES);
const REFUSAL_ERRNOS = errnosOf(REFUSALS);

/** Dials for the clients of one thread: all addresses in turn, again where that is wanted, until the time is up. The mirror image of Acceptor. */
export class Dialer {
  readonly #thread: Thread;
  readonly #firstFlight: FirstFlight;
  /** By the descriptor of the client. */
  readonly #dials = new Map<number, Dial>();
  /** Dials that wait for the addresses of a name, by the number of their upstream. */
  readonly #resolving = new Map<number, Dial[]>();
  /** When `runDue` has something to do, at the earliest. */
  wakeAt = Infinity;

  constructor(thread: Thread, { firstFlight }: { firstFlight: FirstFlight }) {
    this.#thread = thread;
    this.#firstFlight = firstFlight;
  }

  /**
   * Connect a client that was accepted; its row is filled in, its upstream counts it. `age`: another
   * process has tried for so long.
   */
  begin(client: number, age: DialAge | null = null): void {
    const { now } = this.#thread;
    const upstream = wayOf(this.#thread, client);
    const dial = openDial(client, upstream, { now, sinceMs: age?.sinceMs ?? 0 });
    this.#dials.set(client, dial);
    upstream.counters.addDialing(1);
    this.#attempt(dial, age?.attemptMs);
  }

  /** How long it has been since a dial began and since its attempt did; null: this client is not being dialled for. */
  ageOf(client: number): DialAge | null {
    const dial = this.#dials.get(client);
    const { now } = this.#thread;
    return dial ? { sinceMs: now - dial.beganAt, attemptMs: dial.isResting ? 0 : now - dial.attemptAt } : null;
  }

  #attempt(dial: Dial, agedMs = 0): void {
    const { now } = this.#thread;
    const { plan, fixed, resolved } = dial.upstream;
    const known = fixed ?? resolved;
    dial.isResting = false;
    dial.failures = NO_FAILURES;
    dial.lookupFailure = null;
    dial.next = 0;
    dial.attemptAt = now - agedMs;
    dial.deadline = dial.attemptAt + plan.timeoutMs;
    this.#due(dial.deadline);
    if (known !== null && now < known.until) return this.#tryAddresses(dial, known);
    dial.addresses = [];
    const waiting = this.#resolving.get(plan.id);
    if (waiting) return void waiting.push(dial);
    this.#resolving.set(plan.id, [dial]);
    this.#thread.send({ type: 'resolve', upstream: plan.id });
  }

  /** An upstream has no clients any more, and will have none. */
  forget(upstreamId: number): void {
    this.#resolving.delete(upstreamId);
  }

  /** The addresses of a name have come. */
  resolved({ upstream: id, addresses: sockaddrs, targets, freshMs, failure }: Resolved): void {
    const { kernel, upstreams, now } = this.#thread;
    const waiting = this.#resolving.get(id) ?? [];
    this.#resolving.delete(id);
    const answer = {
      addresses: sockaddrs.map((sockaddr) => kernel.address(sockaddr)),
      targets,
      until: now + freshMs,
    };
    const upstream = upstreams.get(id);
    if (upstream && failure === null) upstream.resolved = answer;
    for (const dial of waiting) {
      if (this.#dials.get(dial.client) !== dial || dial.isResting) continue;
      dial.lookupFailure = failure;
      if (failure !== null) this.#attemptFailed(dial);
      else this.#tryAddresses(dial, answer);
    }
  }

  #tryAddresses(dial: Dial, addresses: ResolvedAddresses): void {
    setAddresses(dial, addresses);
    this.#tryNext(dial);
  }

  #tryNext(dial: Dial): void {
    const index = nextIndex(dial);
    const address = dial.addresses[index];
    if (address === undefined) return;
    dial.next++;
    dial.wakeAt = Infinity;
    const result = this.#connect(dial, address, index);
    dial.lack = null;
    if (result === 0) return;
    if (result === -EAGAIN) return this.#tryAgain(dial, dial.fullQueuePauseMs);
    dial.lack = this.#lackOf(-result, address, dial);
    if (dial.lack !== null) return this.#tryAgain(dial, SHORTAGE_PAUSE_MS);
    this.#failed(dial, index, -result);
  }

  /** What there is too little of here, if that is what an error says: time mends it, and the destination has no part in it. */
  #lackOf(errno: number, address: PinnedAddress, { upstream }: Dial): number | null {
    if (errno === EADDRNOTAVAIL && areAllPortsTaken(address, upstream)) return OUT_OF_PORTS;
    return SHORTAGE_ERRNOS.includes(errno) ? errno : null;
  }

  /** The same address once more, as soon as there may be room. */
  #tryAgain(dial: Dial, pauseMs: number): void {
    dial.next--;
    dial.wakeAt = this.#thread.now + pauseMs;
    dial.fullQueuePauseMs = nextPause(dial.fullQueuePauseMs, FULL_QUEUE_PAUSE_MS);
    this.#due(dial.wakeAt);
  }

  /** Start to connect. Returns 0 when that is under way or done already, else the negative errno. */
  #connect(dial: Dial, address: PinnedAddress, index: number): number {
    const { table } = this.#thread;
    const fd = startConnect(this.#thread, address, { upstream: dial.upstream, firstFlight: this.#firstFlight });
    if (fd < 0) return fd;
    if (!table.has(fd, CONNECTING)) {
      if (isConnectedToItself(this.#thread, fd, address, dial.upstream)) {
        table.close(fd);
        this.#thread.kernel.closeWithReset(fd);
        return -ECONNREFUSED;
      }
      this.#connected(dial, fd, address);
      return 0;
    }
    // Until it is connected, only this leg knows the other: the client may have several.
    table.setOther(fd, dial.client);
    dial.tries.push({ fd, address: index });
    if (dial.next < dial.addresses.length) {
      dial.wakeAt = this.#thread.now + headStartMs(dial);
      this.#due(dial.wakeAt);
    }
    return 0;
  }

  /** An event of a connect under way. Returns whether the leg is connected now. */
  handle(fd: number, mask: number): boolean {
    const { kernel, table } = this.#thread;
    const dial = this.#dials.get(table.other(fd))!;
    const index = dial.tries.find((each) => each.fd === fd)?.address ?? 0;
    const address = dial.addresses[index]!;
    const isSelf = (mask & EPOLLOUT) !== 0 && isConnectedToItself(this.#thread, fd, address, dial.upstream);
    if (isSelf || mask & (EPOLLERR | EPOLLHUP)) {
      const errno = isSelf ? ECONNREFUSED : kernel.takeError(fd);
      this.#closeTry(dial, fd, { reset: isSelf });
      this.#failed(dial, index, errno || ECONNREFUSED);
      return false;
    }
    if (!(mask & EPOLLOUT)) return false;
    removeTry(dial, fd);
    this.#connected(dial, fd, address);
    return true;
  }

  #connected(dial: Dial, fd: number, address: PinnedAddress): void {
    const { table } = this.#thread;
    const { client, upstream } = dial;
    upstream.answeredLast = address;
    const connectMs = this.#thread.now - dial.beganAt;
    upstream.counters.tally.countConnect(connectMs);
    table.setConnectMs(fd, connectMs);
    this.#forget(dial);
    table.clear(fd, CONNECTING);
    this.#thread.pair(client, fd);
  }

  #failed(dial: Dial, address: number, errno: number): void {
    this.#doubt(dial);
    dial.failures = [...dial.failures, { address, errno }];
    if (dial.next < dial.addresses.length) return this.#tryNext(dial);
    if (dial.tries.length === 0) this.#attemptFailed(dial);
  }

  /** A name may mean something else by now. Of a service that is known, and another target is tried. */
  #doubt({ upstream, order }: Dial): void {
    if (order === null) upstream.resolved = null;
  }

  #attemptFailed(dial: Dial): void {
    const { now } = this.#thread;
    const { lookupFailure } = dial;
    const isWorthIt =
      lookupFailure?.isPassing === true || dial.failures.some(({ errno }) => REFUSAL_ERRNOS.includes(errno));
    if (!isWorthIt || now >= dial.retryUntil)
      return this.#giveUp(dial, lookupFailure ? { text: lookupFailure.text } : { failures: dial.failures });
    dial.isResting = true;
    dial.deadline = Infinity;
    dial.wakeAt = Math.min(now + dial.pauseMs, dial.retryUntil);
    dial.pauseMs = nextPause(dial.pauseMs, RETRY_PAUSE_MS);
    this.#due(dial.wakeAt);
  }

  #giveUp(dial: Dial, reason: EndReason): void {
    this.#forget(dial);
    this.#thread.end(dial.client, { stage: 'dial', why: whyGivenUp(dial), reason, reset: true });
  }

  /** Stop dialling for a client; it is the caller's again. */
  abandon(client: number): void {
    const dial = this.#dials.get(client);
    if (dial) this.#forget(dial);
  }

  #forget(dial: Dial): void {
    if (this.#resolving.size > 0) this.#leaveLookup(dial);
    this.#closeTries(dial);
    this.#dials.delete(dial.client);
    dial.upstream.counters.addDialing(-1);
  }

  /** A dial waits for its addresses no longer; when it was the last, nobody needs them. */
  #leaveLookup(dial: Dial): void {
    const { id } = dial.upstream.plan;
    const waiting = this.#resolving.get(id);
    if (!waiting?.includes(dial)) return;
    if (waiting.length > 1)
      return void this.#resolving.set(
        id,
        waiting.filter((each) => each !== dial),
      );
    this.#resolving.delete(id);
    this.#thread.send({ type: 'resolve-no-more', upstream: id });
  }

  #closeTries(dial: Dial): void {
    while (dial.tries.length > 0) this.#closeTry(dial, dial.tries[0]!.fd);
  }

  #closeTry(dial: Dial, fd: number, { reset = false }: { reset?: boolean } = {}): void {
    const { table, kernel } = this.#thread;
    removeTry(dial, fd);
    table.close(fd);
    if (reset) kernel.closeWithReset(fd);
    else kernel.close(fd);
  }

  #due(at: number): void {
    if (at < this.wakeAt) this.wakeAt = at;
  }

  /** Do what is due. */
  runDue(): void {
    const { now } = this.#thread;
    if (now < this.wakeAt) return;
    this.wakeAt = Infinity;
    for (const dial of this.#dials.values()) {
      if (now >= dial.deadline) this.#timeOut(dial);
      else if (now >= dial.wakeAt) {
        if (dial.isResting) this.#attempt(dial);
        else this.#tryNext(dial);
      }
      if (this.#dials.get(dial.client) === dial) this.#due(Math.min(dial.deadline, dial.wakeAt));
    }
  }

  #timeOut(dial: Dial): void {
    if (this.#resolving.get(dial.upstream.plan.id)?.includes(dial)) {
      this.#leaveLookup(dial);
      dial.lookupFailure = { text: describeLateLookup(dial.upstream.plan.timeoutMs / 1000), isPassing: true };
      return this.#attemptFailed(dial);
    }
    const isUntried = dial.tries.length === 0 && dial.failures.length === 0;
    const late = isUntried ? [nextIndex(dial)] : dial.tries.map(({ address }) => address);
    const errno = (isUntried ? dial.lack : null) ?? OUT_OF_TIME;
    dial.failures = [...dial.failures, ...late.map((address) => ({ address, errno }))];
    this.#closeTries(dial);
    this.#doubt(dial);
    dial.next = dial.addresses.length;
    this.#attemptFailed(dial);
  }
}

function whyGivenUp({ lookupFailure, failures }: Dial): ClosingReason {
  if (lookupFailure) return 'name-failed';
  if (failures.some(({ errno }) => errno === OUT_OF_PORTS)) return 'shortage';
  return dialReason(failures.map(({ errno }) => (errno === OUT_OF_TIME ? TIMED_OUT : codeOfErrno(errno))));
}
