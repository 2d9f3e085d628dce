/** The roles of one thread, put together: each knows the thread, and of the others those that it is given here. */
import { ConnectionIds, laneOfThread } from '../connection-ids.ts';
import { Acceptor } from './accept.ts';
import { Adopter } from './adopt.ts';
import { Chooser } from './choose.ts';
import { ClientHandshakes } from './client-handshake.ts';
import { Connections } from './connection.ts';
import { ConnectionTable, KIND_OWN } from './connection-table.ts';
import { Destroyer } from './destroy.ts';
import { Dialer } from './dial.ts';
import { DialLookups } from './dial-lookups.ts';
import { EndReporter } from './end-report.ts';
import { FirstFlight } from './first-flight.ts';
import { Freezer } from './freeze.ts';
import { Headers } from './headers.ts';
import { IdleWatch } from './idle.ts';
import { LifetimeWatch } from './lifetime.ts';
import { openKernel } from './kernel.ts';
import { Lister } from './list.ts';
import { Mailbox } from './mailbox.ts';
import type { ThreadCommand, ThreadData } from './messages.ts';
import { Relay } from './relay.ts';
import type { Thread } from './thread.ts';
import { TotalSlots } from '../total-slots.ts';
import { ThreadUpstreams } from './thread-upstreams.ts';
import { Linger } from './linger.ts';
import { Originator } from './tls/originate.ts';
import { Terminator } from './tls/terminate.ts';
import { ThreadTls } from './tls/thread-tls.ts';
import { KeepAlive } from './tune.ts';
import { UpstreamHandshakes } from './upstream-handshake.ts';
import { WaitingRoom } from './waiting-room.ts';

/** Everybody of a thread. */
export type Roles = {
  readonly thread: Thread;
  readonly mailbox: Mailbox;
  readonly upstreams: ThreadUpstreams;
  readonly acceptor: Acceptor;
  readonly dialer: Dialer;
  readonly chooser: Chooser;
  readonly waitingRoom: WaitingRoom;
  readonly clientHandshakes: ClientHandshakes;
  readonly relay: Relay;
  readonly connections: Connections;
  readonly destroyer: Destroyer;
  readonly freezer: Freezer;
  readonly lister: Lister;
  readonly keepAlive: KeepAlive;
  readonly firstFlight: FirstFlight;
  readonly idle: IdleWatch;
  readonly tls: ThreadTls;
  readonly terminator: Terminator;
  readonly originator: Originator;
  readonly linger: Linger;
  readonly headers: Headers;
  readonly lifetime: LifetimeWatch;
};

/** Open what the calling thread needs. `execute` carries out the commands that come to its mailbox. Throws GraceError when the runtime cannot call C. */
export function openRoles(
  { number, table: memory, total, ...forMailbox }: ThreadData,
  execute: (command: ThreadCommand) => void,
): Roles {
  const kernel = openKernel();
  const table = new ConnectionTable(memory);
  // Before anything can go wrong: of a thread that dies, what is noted there is closed.
  table.open(kernel.epollFd, number, KIND_OWN);
  const mailbox = new Mailbox(kernel, forMailbox);
  const thread: Thread = {
    number,
    kernel,
    table,
    ids: new ConnectionIds(laneOfThread(number)),
    total: total && new TotalSlots(total),
    upstreams: new Map(),
    frontends: new Map(),
    ways: new Map(),
    ipv6Peers: new Map(),
    now: performance.now(),
    fdBound: 0,
    send: (report) => mailbox.send(report),
    readMailbox: () => mailbox.read(execute),
    admit: (client, frontend, upstream) => connections.admit(client, frontend, upstream),
    preludeOf: (client) => connections.preludeOf(client),
    pair: (client, server, codec) => connections.pair(client, server, codec),
    end: (client, options) => connections.end(client, options),
    surrender: (client) => connections.surrender(client),
  };
  const relay = new Relay(thread);
  const keepAlive = new KeepAlive(thread);
  const firstFlight = new FirstFlight(thread);
  const idle = new IdleWatch(thread);
  const tls = new ThreadTls(thread);
  const terminator = new Terminator(thread, tls);
  const originator = new Originator(thread, tls);
  const linger = new Linger(thread);
  const headers = new Headers(thread);
  const lifetime = new LifetimeWatch(thread);
  const lookups = new DialLookups(thread);
  const upstreamHandshakes = new UpstreamHandshakes(thread, { originator });
  const dialer = new Dialer(thread, { firstFlight, lookups, handshakes: upstreamHandshakes });
  const chooser = new Chooser(thread, { dialer });
  const acceptor = new Acceptor(thread);
  const upstreams = new ThreadUpstreams(thread, { lookups });
  const waitingRoom = new WaitingRoom(thread, { chooser, upstreams });
  const destroyer = new Destroyer(thread);
  const clientHandshakes = new ClientHandshakes(thread, { relay, waitingRoom, terminator, headers, destroyer });
  const adopter = new Adopter(thread, { relay, chooser, headers, terminator, keepAlive, idle });
  const reporter = new EndReporter(thread, { relay, adopter, mailbox, headers });
  const connections = new Connections(thread, {
    relay,
    handshakes: clientHandshakes,
    waitingRoom,
    chooser,
    dialer,
    acceptor,
    adopter,
    destroyer,
    reporter,
    upstreams,
    keepAlive,
    firstFlight,
    linger,
    headers,
  });
  const freezer = new Freezer(thread, { relay, dialer, chooser, waitingRoom, adopter, destroyer, headers });
  const lister = new Lister(thread, { relay });
  return {
    thread,
    mailbox,
    upstreams,
    acceptor,
    dialer,
    chooser,
    waitingRoom,
    clientHandshakes,
    relay,
    connections,
    destroyer,
    freezer,
    lister,
    keepAlive,
    firstFlight,
    idle,
    lifetime,
    tls,
    terminator,
    originator,
    linger,
    headers,
  };
}
