import type { IncomingMessage } from 'node:http';
import type { Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { isMainThread } from 'node:worker_threads';
import { errorMessage, GraceError } from '../error.ts';
import { formatAddress } from '../net/listener.ts';
import type { Listener } from '../net/listener.ts';
import { Net } from '../net/net.ts';
import { openNotifier } from '../net/notify.ts';
import type { Notifier } from '../net/notify.ts';
import { badArgument, checkFunctions, checkMilliseconds, checkOptions, isRecord } from '../net/argument.ts';
import { checkNoClusterWorker, mustBeServer, serveOn } from '../net/serve-on.ts';
import { listenOn, parseAddress } from './address.ts';
import type { Address } from './address.ts';
import { watchServer } from './drain.ts';
import { listenToSignals } from './signals.ts';
import { stopServers } from './stop.ts';
import { makeSuccessors } from './successor.ts';

/** A server of node:net, tls, http, https or http2 that does not listen yet, and where it is to. */
export type Target = { server: Server; address: Address };

/** All are optional; times are in milliseconds. */
export type ServeOptions = {
  /** Where a single server listens. Default: the first socket that an init system passed. */
  address?: Address;
  /** Milliseconds that open connections have to finish after SIGTERM; then they are closed. Default 60 000. */
  stopTimeout?: number;
  /** Milliseconds after that in which closing must succeed; then the promise rejects. Default 60 000. */
  killTimeout?: number;
  /**
   * Milliseconds that an HTTP/1 connection without a request stays open after its last one, while
   * stopping: long enough for a client that has just got its answer to send the next request, which is
   * answered with `Connection: close`. Connections idle for longer are closed at once. Default 500.
   */
  idleGrace?: number;
  /** Milliseconds within which a successor must serve; then it is killed and this process goes on. Default 60 000. */
  startTimeout?: number;
  /** Runs before a successor is started; when it throws, none is. */
  preStartProcess?: () => void | Promise<void>;
  /** All servers listen, at these addresses. */
  onListening?: (event: { listeners: readonly Listener[]; pid: number; predecessorPid: number | null }) => void;
  /** A restart failed, and this process goes on serving. Default: the log has it; without one, standard error. */
  onRestartFailed?: (error: Error) => void;
  /**
   * Called when stopping, for each open connection whose protocol is the application's: upgraded ones,
   * with the request, and those of net and tls servers, with null. The application ends it in its
   * protocol's way; without this hook such connections get until `stopTimeout` to end by themselves.
   */
  endConnection?: (socket: Duplex, request: IncomingMessage | null) => void;
  /** Hears what happens, a line at a time. Default: nobody. */
  log?: (line: string) => void;
  /** Stops as SIGTERM does. */
  signal?: AbortSignal;
  /** The inherited sockets and the successor's invocation. Default: made here, from the process's environment. */
  net?: Net;
};

/**
 * Serve until told to stop, and restart without refusing or failing a request.
 *
 * - SIGUSR2 starts this program anew, from its original path, on the same sockets. When the new process
 *   serves, it ends this one with SIGTERM; if it fails, this one goes on. While one is starting, further
 *   signals join it. Refused where a container would end with this process.
 * - SIGTERM, SIGINT or `signal`: stop accepting; requests, streams and connections under way are finished,
 *   idle connections are closed. A second signal closes everything at once. A successor that does not serve
 *   yet is killed: told to stop, the service stops.
 * - Sockets are inherited by systemd's protocol (LISTEN_FDS); a socket with the address of a server is
 *   used, the others are closed. The service manager is notified if there is one (sd_notify).
 *
 * The servers must not listen yet; they are closed when the promise settles.
 *
 * @param servers one server, whose address is in the options, or each with its address
 * @returns resolves when everything has ended: after a stop, or when the application has closed every server
 * @throws GraceError with a `code` when an argument is wrong, when an address cannot be listened on (nothing is
 * left open), or when connections are still open after `killTimeout`; a server's `error` event.
 */
export async function serve(servers: Server | Target | readonly Target[], options: ServeOptions = {}): Promise<void> {
  const { idleGrace, startTimeout, stopTimeout, killTimeout } = checkServeOptions(options);
  const { log = () => {}, endConnection, preStartProcess } = options;
  const given = checkServers(servers);
  if (options.address !== undefined && given.some(({ address }) => address !== undefined)) {
    throw new GraceError('serve: options.address is for a server without an address', {
      code: 'ERR_GRACE_ARGUMENT',
      hint: 'each of these has its own',
    });
  }
  checkProcess(options.signal);
  using _alone = takeTurn();
  const net = options.net ?? new Net();
  const notifier = openNotifier();
  const targets = toTargets(given, { net, address: options.address });
  const watched = targets.map(({ server }) => watchServer(server, { idleGrace, endConnection }));
  const successors = makeSuccessors({ net, preStartProcess, startTimeout, isManaged: notifier !== null });
  using signals = listenToSignals(options.signal);
  using _watchdog = keepWatchdogQuiet(notifier);

  const serverError = firstError(targets);
  const listeners = await listenAll(net, targets);
  const allClosed = Promise.all(targets.map(({ server }) => new Promise((resolve) => server.once('close', resolve))));
  // A successor that is told to stop before it serves does not take over: the predecessor goes on.
  const isTakingOver = net.parent === null || !signals.isStopped;
  if (isTakingOver) {
    announce({ net, notifier, log, listeners });
    options.onListening?.({ listeners, pid: process.pid, predecessorPid: net.parent?.pid ?? null });
  }
  signals.onRestart(() => {
    notifier?.reloading();
    successors.start().catch((error: unknown) => {
      notifier?.ready();
      const line = `Cannot restart: ${errorMessage(error)}`;
      log(line);
      if (options.log === undefined && options.onRestartFailed === undefined) console.error(line);
      options.onRestartFailed?.(error as Error);
    });
  });

  try {
    await Promise.race([signals.stopped, serverError, allClosed]);
  } finally {
    const successor = successors.release();
    if (successor !== null) signals.excuseOne();
    // The manager may listen to its main process only, which still is this one.
    if (successor !== null) notifier?.ready({ mainPid: successor });
    else if (isTakingOver) notifier?.stopping();
    net.close({ removePaths: successor !== null ? 'none' : isTakingOver ? 'service' : 'process' });
    await stopServers(watched, { stopTimeout, killTimeout, hurry: signals.hurried, log });
    await successors.ended();
    log(`Exiting pid ${process.pid}.`);
  }
}

/** Where no signal is heard, the first SIGUSR2 would end the process. Throws GraceError. */
function checkProcess(signal: AbortSignal | undefined): void {
  checkNoClusterWorker('serve');
  // Deno's threads hear signals.
  if (isMainThread || signal !== undefined || 'Deno' in globalThis) return;
  throw new GraceError('serve: this is a worker thread, and Node tells only the main thread of signals', {
    code: 'ERR_GRACE_PROCESS',
    hint: 'call it in the main thread, or with options.signal, by which alone it is stopped then',
  });
}

let isServing = false;

/** Two at once would hear the same signals, and start a successor each. Throws GraceError. */
function takeTurn(): Disposable {
  if (isServing)
    throw new GraceError('serve: it is at work in this process already', {
      code: 'ERR_GRACE_ARGUMENT',
      hint: 'give it all servers in one call: serve([{ server, address }, …])',
    });
  isServing = true;
  return { [Symbol.dispose]: () => void (isServing = false) };
}

type Given = { server: Server; address: Address | undefined };

/** The servers as they were given, each with its address if it has one. */
function checkServers(servers: unknown): Given[] {
  if (Array.isArray(servers)) {
    if (servers.length === 0) throw badArgument('serve', 'a server, or an array of { server, address }', servers);
    const given = servers.map((target: unknown, index) => checkTarget(`serve: servers[${index}]`, target));
    const twice = given.findIndex(({ server }, index) => given.findIndex((other) => other.server === server) !== index);
    if (twice === -1) return given;
    throw new GraceError(`serve: servers[${twice}] is there twice; make a server for each address`, {
      code: 'ERR_GRACE_ARGUMENT',
    });
  }
  if (isRecord(servers) && 'server' in servers && !('listen' in servers)) return [checkTarget('serve', servers)];
  mustBeServer('serve', servers);
  return [{ server: servers, address: undefined }];
}

function checkTarget(where: string, target: unknown): Given {
  if (!isRecord(target) || !('server' in target)) throw badArgument(where, '{ server, address }', target);
  const { server, address } = target;
  mustBeServer(`${where}.server`, server);
  if (address === undefined || address === null)
    throw badArgument(`${where}.address`, 'an address such as ":8080"', address);
  return { server, address: address as Address };
}

const optionNames: readonly (keyof ServeOptions)[] = [
  'address',
  'stopTimeout',
  'killTimeout',
  'idleGrace',
  'startTimeout',
  'preStartProcess',
  'onListening',
  'onRestartFailed',
  'endConnection',
  'log',
  'signal',
  'net',
];

function checkServeOptions(
  options: ServeOptions,
): Required<Pick<ServeOptions, 'idleGrace' | 'startTimeout' | 'stopTimeout' | 'killTimeout'>> {
  checkOptions('serve: options', options, optionNames);
  checkFunctions('serve: options', options, [
    'preStartProcess',
    'onListening',
    'onRestartFailed',
    'endConnection',
    'log',
  ]);
  const { idleGrace = 500, startTimeout = 60_000, stopTimeout = 60_000, killTimeout = 60_000, signal, net } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw badArgument('serve: options.signal', 'an AbortSignal', signal);
  if (net !== undefined && !(net instanceof Net)) throw badArgument('serve: options.net', 'a Net', net);
  return {
    idleGrace: checkMilliseconds('serve: options.idleGrace', idleGrace),
    startTimeout: checkMilliseconds('serve: options.startTimeout', startTimeout),
    stopTimeout: checkMilliseconds('serve: options.stopTimeout', stopTimeout),
    killTimeout: checkMilliseconds('serve: options.killTimeout', killTimeout),
  };
}

/** A single server may have its address in the options, or none: then it takes the first inherited socket. */
function toTargets(given: readonly Given[], { net, address }: { net: Net; address: Address | undefined }): Target[] {
  const targets = given.map(({ server, address: own }) => ({
    server,
    address: own ?? (address === undefined ? firstInherited(net) : address),
  }));
  // All of them, before the first one listens.
  for (const target of targets) parseAddress(target.address);
  return targets;
}

function firstInherited(net: Net): Address {
  const address = net.waitingListeners()[0]?.address;
  if (address === undefined)
    throw new GraceError('cannot serve: the server has no address, and no socket was inherited', {
      code: 'ERR_GRACE_ADDRESS',
      hint: 'say where to listen: serve(server, { address: ":8080" })',
    });
  return address.family === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
}

/** Rejects with the first error event of any server. */
function firstError(targets: readonly Target[]): Promise<never> {
  const failed = Promise.withResolvers<never>();
  for (const { server } of targets) server.on('error', failed.reject);
  // Whoever waits for it hears of it; before and after that it must not end the process.
  failed.promise.catch(() => {});
  return failed.promise;
}

async function listenAll(net: Net, targets: readonly Target[]): Promise<Listener[]> {
  try {
    const listeners: Listener[] = [];
    for (const { address } of targets) listeners.push(await listenOn(net, address));
    await Promise.all(targets.map(({ server }, index) => serveOn(server, listeners[index]!)));
    return listeners;
  } catch (error) {
    for (const { server } of targets) if (server.listening) server.close();
    net.close({ removePaths: 'process' });
    throw error;
  }
}

/** All servers accept: say so to the log, to the service manager, and to the predecessor, which then ends. */
function announce(options: {
  net: Net;
  notifier: Notifier | null;
  log: (line: string) => void;
  listeners: readonly Listener[];
}): void {
  const { net, notifier, log, listeners } = options;
  const addresses = listeners.map(({ address }) => formatAddress(address)).join(', ');
  for (const { address } of net.closeUnused({ removePaths: true }))
    log(`Closed the inherited socket ${formatAddress(address)}: no server has that address.`);
  log(`Serving ${addresses} with pid ${process.pid}.`);
  notifier?.ready({ mainPid: process.pid, status: `Serving ${addresses}` });
  if (net.parent === null) return;
  net.claimPaths();
  // Said before it is done, so that the log has it before the predecessor's end.
  log(`Graceful handoff of ${addresses} from pid ${net.parent.pid} to pid ${process.pid}.`);
  net.parent.terminate();
}

function keepWatchdogQuiet(notifier: Notifier | null): Disposable {
  const interval = notifier?.watchdogIntervalMs ?? null;
  const timer = interval === null ? undefined : setInterval(() => notifier?.watchdog(), interval);
  timer?.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
