/** What is measured of TLS, and of whom: the parts of `npm run bench -- tls`. */
import { bulkOverTls, besideHandshakes, handshakesOf } from './tls-measure.ts';
import { connections, requests } from './measure.ts';
import { memory } from './memory.ts';
import type { Peer } from './peers.ts';
import type { Section } from './section.ts';
import { parameters } from './tls.ts';

/** Their names: `tls` on the command line stands for all of them. */
export const tlsSectionNames = [
  'handshakes',
  'resumed',
  'tls-bulk',
  'tls-requests',
  'tls-memory',
  'flood',
  'tls-upstream',
  'tls-upstream-resumed',
] as const;

/** Connections with TLS take a while to make. */
const maxIdle = 2000;

export function tlsSectionsOf({
  peers,
  reference,
  idleConnections,
}: {
  peers: readonly Peer[];
  reference: string;
  idleConnections: number;
}): Section[] {
  const speakers = peers.filter(({ speaksTls }) => speaksTls);
  const both = speakers.filter(({ isPlain }) => isPlain);
  const common = { backend: 'http', isTls: true, peers: speakers, reference } as const;
  const { version, cipher, group, key } = parameters;
  const agreed = `${version}, ${cipher}, ${group}, ${key}: the client offers nothing else, and each peer is asked before`;
  const count = Math.min(idleConnections, maxIdle);
  return [
    {
      ...common,
      name: 'handshakes',
      title: 'Full TLS handshakes, each with a request',
      remark: `${agreed}; by openssl s_time -new, which never resumes a session (wrk does)`,
      tools: ['openssl'],
      warmUpSeconds: 3,
      measure: (peer, measurement) => handshakesOf(peer, { ...measurement, resumes: false }),
    },
    {
      ...common,
      name: 'resumed',
      title: 'Resumed TLS handshakes, each with a request',
      remark: `${agreed}; by openssl s_time -reuse, which says of each whether it was one`,
      tools: ['openssl'],
      warmUpSeconds: 3,
      measure: (peer, measurement) => handshakesOf(peer, { ...measurement, resumes: true }),
    },
    {
      ...common,
      name: 'tls-bulk',
      title: 'TLS, large files over 4 connections, to the client (down) and from it (up)',
      remark: agreed,
      tools: ['wrk', 'openssl'],
      measure: bulkOverTls,
    },
    {
      ...common,
      name: 'tls-requests',
      title: 'Requests over 50 kept TLS connections',
      remark: agreed,
      tools: ['wrk', 'openssl'],
      measure: (peer, measurement) => requests(peer, { ...measurement, scheme: 'https' }),
    },
    {
      ...common,
      name: 'tls-memory',
      title: `Memory (PSS) for each of ${count} idle TLS connections`,
      remark: 'each peer alone; what the kernel keeps for sockets is not in it',
      backend: 'echo',
      tools: ['openssl'],
      rounds: 1,
      isAlone: true,
      measure: (peer, { signal }) => memory(peer, { count, isTls: true, signal }),
    },
    {
      ...common,
      name: 'flood',
      title: 'One quiet connection without TLS beside a flood of TLS handshakes',
      remark: `${agreed}; both through the same process, the handshakes as fast as it lets them`,
      tools: ['openssl'],
      peers: both,
      forwardsPlainToo: true,
      measure: besideHandshakes,
    },
    {
      ...common,
      name: 'tls-upstream',
      title: 'TLS towards the backend: a new connection with a full handshake for each request, 20 at a time',
      remark: `${version}, ${cipher}, ${group}, ${key}, nothing resumed: the backend has nothing else, and tells what it was; certificates are not verified`,
      backend: 'https',
      tools: ['wrk', 'openssl'],
      peers: peers.filter(({ speaksTlsUpstream }) => speaksTlsUpstream),
      isTls: false,
      upstreamTls: 'full',
      measure: connections,
    },
    {
      ...common,
      name: 'tls-upstream-resumed',
      title: 'TLS towards the backend, resumed: a new connection for each request, 20 at a time',
      remark: `${version}, ${cipher}, ${group}, ${key}: the backend gives tickets, and tells what it was; certificates are not verified`,
      backend: 'https-resumed',
      tools: ['wrk', 'openssl'],
      peers: peers.filter(({ resumesUpstream }) => resumesUpstream),
      isTls: false,
      upstreamTls: 'resumed',
      measure: connections,
    },
  ];
}
