/** What is measured, and of whom. */
import { cpus } from 'node:os';
import { headerPeers } from './headers.ts';
import { bulk, connections, latency, requests, threads, warmUpBulk } from './measure.ts';
import { memory } from './memory.ts';
import type { Options } from './options.ts';
import { grace, haproxy, hitch, nginx, nodePipe, rinetd, socat, socketProxyd, stunnel } from './peers.ts';
import type { Section } from './section.ts';
import { tlsSectionNames, tlsSectionsOf } from './tls-sections.ts';

export const sectionNames = [
  'requests',
  'connections',
  'headers',
  'observed',
  'limits',
  'bulk',
  'bulk8',
  'latency',
  'memory',
  ...tlsSectionNames,
  'threads',
  'commands',
  'scale',
] as const;

/** `nodeCopy`: an executable of Node that nothing else runs. */
export function sectionsOf({
  idleConnections,
  threads: threadCounts,
  reference,
  engines,
  builds,
  nodeCopy,
}: Options & { nodeCopy: string }): Section[] {
  const graces = engines.flatMap((engine) =>
    builds.map(({ name, path }) => grace(`grace ${engine} ${name}`.trim(), { path, engine })),
  );
  // The same program once more: how far its ratio is from 1 is the noise of this machine.
  const haproxies = [haproxy('HAProxy again'), haproxy('HAProxy splice', { splices: true })];
  const peers = [
    haproxy('HAProxy'),
    ...graces,
    ...haproxies,
    nginx('nginx stream'),
    socketProxyd,
    rinetd,
    socat,
    nodePipe(nodeCopy),
    hitch,
    stunnel,
  ];
  const plain = { isTls: false, peers: peers.filter(({ isPlain }) => isPlain), reference };
  const bulkRemark = 'CPU s/GB: both ways together, then to the server (up) and from it (down)';
  return [
    {
      ...plain,
      name: 'requests',
      title: 'Requests over 50 kept connections',
      backend: 'http',
      tools: ['wrk'],
      measure: requests,
    },
    {
      ...plain,
      name: 'connections',
      title: 'A new connection for each request, 20 at a time',
      backend: 'http',
      tools: ['wrk'],
      measure: connections,
    },
    {
      ...plain,
      peers: headerPeers(builds),
      name: 'headers',
      title: 'The same with a PROXY header of version 2 to each peer, and one from it',
      remark:
        'nginx sends version 1; with bytes alone, the peer passes on the header that it got as it passes on all else: the difference is what taking and sending one costs',
      backend: 'http-headers',
      tools: ['wrk', 'haproxy'],
      measure: connections,
    },
    {
      ...plain,
      ...observedPeers(builds),
      name: 'observed',
      title: 'The same of grace alone: what an access log costs, and metrics that are read every second',
      backend: 'http',
      tools: ['wrk'],
      measure: connections,
    },
    {
      ...plain,
      name: 'limits',
      title: 'The same of grace alone: what limits cost a connection',
      remark: `all from one address; with addresses, ${addresses} others have come before, each of which has its row in the table`,
      backend: 'http',
      tools: ['wrk'],
      ...limitedPeers(builds),
      measure: connections,
    },
    {
      ...plain,
      name: 'bulk',
      title: 'Bulk both ways, 1 stream',
      remark: bulkRemark,
      backend: 'iperf3',
      tools: ['iperf3'],
      ...bulkOf(1),
    },
    {
      ...plain,
      name: 'bulk8',
      title: 'Bulk both ways, 8 streams',
      remark: bulkRemark,
      backend: 'iperf3',
      tools: ['iperf3'],
      ...bulkOf(8),
    },
    {
      ...plain,
      name: 'latency',
      title: 'One quiet connection beside 50 busy ones',
      remark: 'the busy ones go as fast as the peer lets them',
      backend: 'http',
      tools: ['wrk'],
      measure: latency,
      warmUp: requests,
    },
    {
      ...plain,
      name: 'memory',
      title: `Memory (PSS), at rest and for each of ${idleConnections} idle connections`,
      backend: 'echo',
      tools: [],
      rounds: 1,
      isAlone: true,
      remark:
        'each peer alone, so that it shares its pages with nobody; what the kernel keeps for sockets and pipes is not in it',
      measure: (peer, { signal }) => memory(peer, { count: idleConnections, signal }),
    },
    ...tlsSectionsOf({ peers, reference, idleConnections }),
    ...(cpus().length < 2
      ? []
      : [
          {
            ...plain,
            name: 'threads',
            title: 'One worker and more: 50 kept connections, and 20 new ones at a time',
            backend: 'http' as const,
            tools: ['wrk', 'taskset'],
            remark: 'load and backend may run on processor 0 alone, the peers on all',
            peers: threadCounts.flatMap((count) => [
              haproxy(`HAProxy ${count}`, { threads: count }),
              ...builds.map(({ name, path }) =>
                grace(`grace native ${name} ${count}`.replace('  ', ' '), { path, engine: 'native', threads: count }),
              ),
              nginx(`nginx stream ${count}`, { threads: count }),
            ]),
            reference: `HAProxy ${threadCounts[0]}`,
            loadCpus: '0',
            measure: threads,
          },
        ]),
  ];
}

function bulkOf(streams: number): Pick<Section, 'measure' | 'warmUp'> {
  return {
    measure: (peer, measurement) => bulk(peer, { ...measurement, streams }),
    warmUp: (peer, measurement) => warmUpBulk(peer, { ...measurement, streams }),
  };
}

/** So many addresses are known before, of the 131,072 that a table has room for. */
const addresses = 100_000;

/** The last build without limits, twice, and with them, none of which is ever reached: ratios are to the first. */
function limitedPeers(builds: Options['builds']): Pick<Section, 'peers' | 'reference'> {
  const { path } = builds.at(-1)!;
  const setUp = { path, engine: 'native' };
  const perAddress = ':maxconnPer=100000:ratePer=1000000/s';
  return {
    reference: 'grace unlimited',
    peers: [
      grace('grace unlimited', setUp),
      grace('grace again', setUp),
      grace('grace, maxconnPer', { ...setUp, limits: ':maxconnPer=100000' }),
      grace('grace, maxconnPer, ratePer', { ...setUp, limits: perAddress }),
      grace('grace, the same, addresses', { ...setUp, limits: perAddress, addresses }),
      grace('grace, allow, deny', { ...setUp, limits: ':allow=127.0.0.0/8,10.0.0.0/8:deny=192.0.2.0/24' }),
      grace('grace, maxconn', { ...setUp, limits: ':maxconn=100000' }),
      grace('grace, maxconn of all', { ...setUp, maxconn: 100_000 }),
    ],
  };
}

/** The last build without anything that observes it, twice, and with it: ratios are to the first. */
function observedPeers(builds: Options['builds']): Pick<Section, 'peers' | 'reference'> {
  const { path } = builds.at(-1)!;
  const setUp = { path, engine: 'native' };
  return {
    reference: 'grace unobserved',
    peers: [
      grace('grace unobserved', setUp),
      grace('grace again', setUp),
      grace('grace, JSON access log', { ...setUp, accessLog: 'json' }),
      grace('grace, text access log', { ...setUp, accessLog: 'text' }),
      grace('grace, metrics', { ...setUp, scrapeMs: 1000 }),
    ],
  };
}
