/** Which endpoints the native engine serves itself, and what its threads need to know of them. */
import { isIP, isIPv4 } from 'node:net';
import { directOf, innerEndpoint } from '../../endpoint/inner.ts';
import type {
  ClientEndpoint,
  DirectClient,
  ServerEndpoint,
  SniClient,
  SrvClient,
  SslClient,
  SslServer,
  TcpClient,
  TlsClient,
  TlsServer,
} from '../../endpoint/model.ts';
import { KEEP_ALIVE } from '../policy.ts';
import { planPrelude } from '../prelude.ts';
import { LocalPorts } from '../../sys/local-ports.ts';
import { encodeSockaddr } from '../../sys/sockaddr.ts';
import { placeOf } from '../words.ts';
import type { UpstreamPlan, UpstreamTls } from './thread-plans.ts';

/** Whether clients of this endpoint send nothing but their own bytes, after a PROXY header perhaps. */
export function isPlainServer(endpoint: ServerEndpoint): boolean {
  switch (innerEndpoint(endpoint).type) {
    case 'tcp':
    case 'tcp6':
    case 'unix':
    case 'systemd':
    case 'fd':
      return true;
    case 'ssl':
    case 'tls':
    case 'stdio':
      return false;
  }
}

/** Parameters of `ssl:` and `tls:` servers that the native engine heeds, or leaves to others to heed. */
const NATIVE_TLS: ReadonlySet<string> = new Set<keyof SslServer | keyof TlsServer>([
  'type',
  'path',
  'port',
  'interface',
  'backlog',
  'freebind',
  'privateKey',
  'certKey',
  'extraCertChain',
  'passphrase',
  'sni',
  'alpn',
  'dhParameters',
  'truncation',
  'clientCA',
  'clientAuth',
  'sslmethod',
  'minTLS',
  'ciphers',
  'groups',
  'ticketKeys',
  'handshakeTimeout',
  'idle',
  'lifetime',
  'maxconn',
  'maxconnPer',
  'ratePer',
  'allow',
  'deny',
  'userTimeout',
  'proxy',
  'proxyFrom',
  'headerTimeout',
]);

/**
 * The same endpoint, when its clients speak TLS that the native engine speaks. Anything else that is asked for is the portable engine's, and so are `ciphers` with a suite whose records are not ours (tls/server-context.ts).
 */
export function nativeTlsServer(endpoint: ServerEndpoint): SslServer | TlsServer | null {
  const inner = innerEndpoint(endpoint);
  if (inner.type !== 'ssl' && inner.type !== 'tls') return null;
  const isAsked = ([name, value]: [string, unknown]) => value !== undefined && value !== null && !NATIVE_TLS.has(name);
  return Object.entries(inner).some(isAsked) ? null : inner;
}

type Plan = Omit<UpstreamPlan, 'id' | 'counters' | 'sni'>;

/** Numbers a destination that is one of several. */
type Register = (endpoint: DirectClient) => number;

/** Prepares handshakes with a destination; null: the threads have none. */
type OpenTls = (endpoint: SslClient | TlsClient) => UpstreamTls | null;

/** Which ports the system gives out, who numbers destinations, and who shakes hands with them. */
type PlanOptions = { ports?: LocalPorts; register: Register; openTls?: OpenTls };

/**
 * What a thread needs to connect to this endpoint; null when it is not for the native engine. `register` is called for each
 * of its destinations, where it has several.
 */
export function planUpstream(
  endpoint: ClientEndpoint,
  { ports = new LocalPorts(), register, openTls = () => null }: PlanOptions,
): Omit<UpstreamPlan, 'id' | 'counters'> | null {
  if (endpoint.type === 'sni') return planSni(endpoint, { ports, register, openTls });
  const plan = planDirect(endpoint, { ports, openTls });
  return plan && { ...plan, sni: null };
}

/** Not for the native engine when any of its destinations is not. */
function planSni(
  endpoint: SniClient,
  { ports, register, openTls }: Required<PlanOptions>,
): Omit<UpstreamPlan, 'id' | 'counters'> | null {
  const ways = directOf(endpoint);
  const direct = [...new Set(ways)];
  const plans = direct.map((each) => planDirect(each, { ports, openTls })).filter((plan) => plan !== null);
  if (plans.length < direct.length) return null;
  // Several names may lead to one of them.
  const numbered = new Map(
    direct.map((each, index) => [each, { to: placeOf(each), plan: { ...plans[index]!, id: register(each) } }]),
  );
  return {
    prelude: null,
    retryMs: 0,
    keepAliveMs: 0,
    userTimeoutMs: 0,
    timeoutMs: 0,
    mayMeetItself: false,
    tls: null,
    addresses: [],
    bindAddress: null,
    sni: {
      patterns: endpoint.routes.map(({ name, alpn }) => ({ name, alpn })),
      ways: ways.map((way) => numbered.get(way)!),
      hasDefault: endpoint.default !== null,
    },
  };
}

function planDirect(endpoint: DirectClient, { ports, openTls }: Omit<Required<PlanOptions>, 'register'>): Plan | null {
  const { retry: retryMs = 0, keepalive: keepAliveMs = KEEP_ALIVE.idleMs, timeout } = endpoint;
  const { userTimeout: userTimeoutMs = 0 } = endpoint.type === 'unix' ? {} : endpoint;
  const common = {
    prelude: planPrelude(endpoint),
    retryMs,
    keepAliveMs,
    userTimeoutMs,
    timeoutMs: timeout * 1000,
    tls: null,
    mayMeetItself: 'port' in endpoint && ports.givesOut(endpoint.port),
  };
  switch (endpoint.type) {
    case 'unix':
      // The lock beside the path is the portable engine's matter.
      if (endpoint.lockfile) return null;
      return { ...common, addresses: [encodeSockaddr({ family: 'unix', path: endpoint.path })], bindAddress: null };
    case 'tcp':
      return planTcp(endpoint, common);
    case 'srv':
      return planSrv(endpoint, common);
    case 'ssl':
    case 'tls':
      return planTls(endpoint, { common, openTls });
  }
}

type CommonPlan = Pick<
  UpstreamPlan,
  'prelude' | 'retryMs' | 'keepAliveMs' | 'userTimeoutMs' | 'timeoutMs' | 'mayMeetItself' | 'tls'
>;

/** Over a connection that is made directly, and whose end means what ends of TLS mostly mean; anything else is the portable engine's. */
function planTls(
  endpoint: SslClient | TlsClient,
  { common, openTls }: { common: CommonPlan; openTls: OpenTls },
): Plan | null {
  if ((endpoint.type === 'tls' && endpoint.endpoint !== null) || endpoint.truncation !== undefined) return null;
  const plan = planTcp(endpoint, common);
  const tls = plan && openTls(endpoint);
  return plan && tls && { ...plan, tls };
}

/** Any port may be told of its targets. */
function planSrv({ bindAddress }: SrvClient, common: CommonPlan) {
  if (bindAddress?.includes('%')) return null;
  return {
    ...common,
    mayMeetItself: true,
    addresses: null,
    bindAddress: bindAddress === null ? null : tcpSockaddr(bindAddress, 0),
  };
}

function planTcp({ host, port, bindAddress }: TcpClient | SslClient | TlsClient, common: CommonPlan) {
  // Zones, and names to connect from, are rare enough to be left to the portable engine.
  if (host.includes('%') || (bindAddress !== null && (isIP(bindAddress) === 0 || bindAddress.includes('%'))))
    return null;
  return {
    ...common,
    addresses: isIP(host) === 0 ? null : [tcpSockaddr(host, port)],
    bindAddress: bindAddress === null ? null : tcpSockaddr(bindAddress, 0),
  };
}

/** `struct sockaddr` of a numeric address. */
export function tcpSockaddr(host: string, port: number): Uint8Array {
  return encodeSockaddr({ family: isIPv4(host) ? 'inet' : 'inet6', host, port });
}
