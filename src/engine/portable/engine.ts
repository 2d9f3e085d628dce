/**
 * The engine that runs wherever Node or Deno runs, on node:net and node:tls.
 *
 * A *frontend* accepts on a listener and gives each client to the *upstream* it currently routes to.
 * A client is served in four steps (serve.ts): the handshake where it speaks TLS, the dial, the relay,
 * the end. It is counted from the first to the last, and every socket of it is closed when it is not
 * counted any more.
 */
import type { BindableServer, ClientEndpoint, DirectClient, ServerEndpoint } from '../../endpoint/model.ts';
import { directOf, hasTls, innerEndpoint } from '../../endpoint/inner.ts';
import { GraceError } from '../../error.ts';
import { ConnectionIds } from '../connection-ids.ts';
import type { Engine, Upstream } from '../engine.ts';
import { Names } from '../lookup.ts';
import { Services } from '../services.ts';
import { HANDSHAKE_TIMEOUT_MS, MAX_HANDSHAKES } from '../policy.ts';
import { AcceptBackoff } from './accept-backoff.ts';
import { Descriptors } from './descriptors.ts';
import type { DescriptorOptions } from './descriptors.ts';
import { openChooser } from './choose.ts';
import { ClientContexts } from './client-contexts.ts';
import { openDialer } from './dial.ts';
import type { Directory } from './dial.ts';
import { PortableFrontend } from './frontend.ts';
import { endpointForHttp } from './http-check.ts';
import { admissionOf } from '../admission/admission.ts';
import type { Hold } from '../hold.ts';
import { slotsOf } from '../slots.ts';
import type { TotalSlots } from '../total-slots.ts';
import { probe } from './probe.ts';
import { headerReaderOf } from './proxied.ts';
import { TicketRing } from '../ticket-ring.ts';
import { openTerminator } from './terminate.ts';
import type { Terminator, TerminatorOptions } from './terminate.ts';
import { ownUpstream, PortableUpstream } from './upstream.ts';
import { UpstreamContexts } from './upstream-contexts.ts';
import { PeerMonitor } from './peer-monitor.ts';
import type { PeerMonitorOptions } from './peer-monitor.ts';
import { WaitingRoom } from './waiting-room.ts';

/** Limits of the engine; the defaults are those of policy.ts. */
export type PortableEngineOptions = Partial<TerminatorOptions> &
  PeerMonitorOptions &
  DescriptorOptions & {
    /** Looks names up. Default: one of its own. */
    names?: Names;
    /** Finds services, as `names` does names. */
    services?: Services;
    /** The places of all connections. Default: no limit. */
    total?: TotalSlots | null;
  };

/** Open the engine. `close` it when its frontends are stopped and its connections gone. */
export function openPortableEngine(options: PortableEngineOptions = {}): Engine {
  const {
    handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS,
    handshakeLimit = MAX_HANDSHAKES,
    names = new Names(),
    services = new Services({ names }),
    tickets = new TicketRing(),
    total = null,
  } = options;
  const descriptors = new Descriptors(options);
  const ids = new ConnectionIds();
  const shownAndTrusted = new ClientContexts();
  const directoryWith = (contexts: UpstreamContexts) => ({ names, services, contexts });
  const shared = {
    descriptors,
    backoff: new AcceptBackoff(descriptors),
    peerMonitor: new PeerMonitor(options),
    total,
  };
  const waitingRooms = new WeakMap<Hold<Upstream>, WaitingRoom>();
  const waitingRoomOf = (hold: Hold<Upstream>): WaitingRoom => {
    const room = waitingRooms.get(hold) ?? new WaitingRoom(hold);
    waitingRooms.set(hold, room);
    return room;
  };
  return {
    name: 'portable',
    openUpstream(endpoint) {
      const contexts = new UpstreamContexts(shownAndTrusted);
      const way = wayTo(endpoint, directoryWith(contexts));
      return new PortableUpstream({ endpoint, way, contexts, ids });
    },
    openFrontend({ listener, endpoint, upstream, share, observer, slots, admission, hold }) {
      const bindable = supportedServer(endpoint);
      const terminator = terminatorOf(bindable, { handshakeTimeoutMs, handshakeLimit, tickets });
      return new PortableFrontend({
        listener,
        endpoint: bindable,
        upstream: ownUpstream(upstream),
        share: share ?? null,
        headerReader: headerReaderOf(endpoint),
        terminator,
        observer,
        slots: slotsOf(endpoint, slots),
        admission: admissionOf(endpoint, admission),
        held: hold ? { hold, waitingRoom: waitingRoomOf(hold) } : null,
        shared,
      });
    },
    probe: async (endpoint, options) => {
      const probeOne = async (direct: DirectClient) => {
        const dialed = options.http ? endpointForHttp(direct) : direct;
        const contexts = new UpstreamContexts(shownAndTrusted);
        await probe(openDialer(dialed, directoryWith(contexts)), dialed, options);
      };
      await Promise.all([...new Set(directOf(endpoint))].map(probeOne));
    },
    connections: async (upstreams) => upstreams.flatMap((upstream) => ownUpstream(upstream).list()),
    async closeConnections(upstreams, ids) {
      const wanted = new Set(ids);
      const counts = await Promise.all(upstreams.map((upstream) => ownUpstream(upstream).close(wanted)));
      return counts.reduce((sum, count) => sum + count, 0);
    },
    async close() {
      shared.peerMonitor.close();
      shared.backoff.close();
    },
  };
}

function wayTo(endpoint: ClientEndpoint, directory: Directory): PortableUpstream['way'] {
  return endpoint.type === 'sni'
    ? { choose: openChooser(endpoint, directory) }
    : { dial: openDialer(endpoint, directory) };
}

function terminatorOf(endpoint: BindableServer, options: TerminatorOptions): Terminator | null {
  return hasTls(endpoint) ? openTerminator(endpoint, options) : null;
}

function supportedServer(endpoint: ServerEndpoint): BindableServer {
  const inner = innerEndpoint(endpoint);
  if (inner.type === 'stdio')
    throw new GraceError('cannot accept on stdio: a service has no standard input to serve', {
      code: 'ERR_GRACE_ENDPOINT',
    });
  return inner;
}
