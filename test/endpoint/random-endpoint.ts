import type { ClientEndpoint, DirectClient, ServerEndpoint } from '../../src/endpoint/model.ts';
import type { Random } from '../random.ts';

/** Text that is hard to quote. */
const hardParts = ['a', 'Z', '0', '/', ':', '=', '\\', '[', ']', '::1', ' ', '.', '..', '✓', '🙂', ',', '%', "'", '\n'];
const hosts = [
  'example.com',
  'my_host',
  '127.0.0.1',
  '::1',
  'fe80::1%eth0',
  '2001:db8::7',
  'bücher.example',
  'EXAMPLE.com.',
];
const addresses = ['', '127.0.0.1', '::', '::1', 'localhost', 'a=b', '\\'];
const durations = [1, 500, 1000, 90_000, 7_200_000];

/** A server endpoint that a string could say, any type, any parameter. */
export function randomServer(random: Random): ServerEndpoint {
  const extras = {
    ...(random.chance(0.3) && { maxconn: 1 + random.below(1000) }),
    ...(random.chance(0.3) && { idle: random.pick(durations) }),
  };
  const proxy = random.chance(0.3) ? { proxy: 'accept' as const } : {};
  const tls = {
    ...(random.chance(0.3) && { alpn: random.pick([['h2'], ['h2', 'http/1.1'], ['a:b=c', '\\']]) }),
    ...(random.chance(0.3) && { clientCA: randomPath(random) }),
  };
  const listening = { port: random.below(65536), backlog: random.pick([50, 1, 4096]) };
  switch (random.below(8)) {
    case 0:
      return { type: 'tcp', ...listening, interface: random.pick(addresses), ...extras, ...proxy };
    case 1:
      return { type: 'tcp6', ...listening, interface: random.pick(['::', '::1', 'localhost']), ...extras, ...proxy };
    case 2:
      return {
        type: 'ssl',
        ...listening,
        interface: random.pick(addresses),
        privateKey: random.pick(['server.pem', randomPath(random)]),
        certKey: random.pick(['server.pem', randomPath(random)]),
        sslmethod: random.pick([null, 'TLSv1_2_METHOD']),
        extraCertChain: maybePath(random),
        dhParameters: maybePath(random),
        ...tls,
        ...(random.chance(0.3) && { sni: randomPath(random) }),
        ...extras,
        ...proxy,
      };
    case 3:
      return {
        type: 'tls',
        path: randomPath(random),
        ...listening,
        interface: random.pick(addresses),
        ...tls,
        ...extras,
        ...proxy,
      };
    case 4: {
      const backlog = listening.backlog;
      if (random.chance(0.3))
        return { type: 'unix', address: `\0${randomPath(random)}`, mode: '666', backlog, lockfile: false, ...extras };
      return {
        type: 'unix',
        address: randomPath(random),
        mode: random.pick(['666', '600', '0']),
        backlog,
        lockfile: random.chance(0.5),
        ...extras,
        ...proxy,
      };
    }
    case 5: {
      const byIndex = random.chance(0.5);
      const domain = random.pick([null, 'INET', 'INET6', 'UNIX'] as const);
      return {
        type: 'systemd',
        domain,
        index: byIndex ? random.below(9) : null,
        name: byIndex ? null : random.pick(['web', 'a=b', '\\']),
        ...extras,
      };
    }
    case 6:
      return { type: 'fd', fd: random.below(100), ...extras, ...proxy };
    default: {
      const endpoint = randomServer(random);
      if (endpoint.type === 'stdio' || endpoint.type === 'haproxy') return { type: 'stdio' };
      const { proxy: _, ...wrapped } = endpoint;
      return { type: 'haproxy', endpoint: wrapped };
    }
  }
}

/** Names that routes of `sni:` may have, in the spelling of the normal form. */
const patterns = ['example.com', '*.example.com', '*', 'xn--bcher-kva.example', 'my_host', 'default.example'];

/** A client endpoint that a string could say, any type, any parameter. */
export function randomClient(random: Random): ClientEndpoint {
  if (random.chance(0.8)) return randomDirect(random);
  const alpn = random.pick([null, 'h2', 'http/1.1', 'a:b=c+d', '\\']);
  const names = patterns.filter((_, index) => index === 0 || random.chance(0.3));
  return {
    type: 'sni',
    routes: names.map((name) => ({ name, alpn, endpoint: randomDirect(random) })),
    default: random.chance(0.5) ? randomDirect(random) : null,
  };
}

/** One that leads to a single place. */
export function randomDirect(random: Random): DirectClient {
  const extras = {
    ...(random.chance(0.3) && { retry: random.pick(durations) }),
    ...(random.chance(0.3) && { proxy: random.pick(['v1', 'v2'] as const) }),
  };
  const keepalive = random.chance(0.3) ? { keepalive: random.pick([0, ...durations]) } : {};
  const alpn = random.chance(0.3) ? { alpn: ['h2'] } : {};
  const timeout = random.pick([30, 1, 600]);
  const target = { host: random.pick(hosts), port: 1 + random.below(65535), timeout, bindAddress: null };
  const insecure = random.chance(0.2);
  switch (random.below(5)) {
    case 3:
      return {
        type: 'srv',
        name: random.pick(['_pg._tcp.db.example', 'web.service.consul.', '_A._tcp.bücher.example']),
        timeout,
        bindAddress: random.pick([null, '::1', '127.0.0.1']),
        server: random.pick([
          null,
          [{ host: '192.0.2.53', port: 53 }],
          [
            { host: '2001:db8::53', port: 53 },
            { host: '::1', port: 5353 },
          ],
        ]),
        ...extras,
        ...keepalive,
      };
    case 0:
      return {
        type: 'tcp',
        ...target,
        host: 'localhost',
        bindAddress: random.pick([null, '::1', '127.0.0.1']),
        ...extras,
        ...keepalive,
      };
    case 1: {
      const certKey = maybePath(random);
      return {
        type: 'ssl',
        ...target,
        hostname: insecure ? null : random.pick([null, ...hosts]),
        caCertsDir: insecure ? null : maybePath(random),
        certKey,
        privateKey: certKey === null ? null : maybePath(random),
        ...(insecure && { insecure: true as const }),
        ...alpn,
        ...extras,
        ...keepalive,
      };
    }
    case 2: {
      const certificate = maybePath(random);
      const endpoint = random.chance(0.5) ? randomDirect(random) : null;
      return {
        type: 'tls',
        ...target,
        endpoint,
        certificate,
        privateKey: certificate === null ? null : maybePath(random),
        trustRoots: insecure ? null : maybePath(random),
        ...(random.chance(0.3) && { serverName: random.pick(hosts) }),
        ...(insecure && { insecure: true as const }),
        ...alpn,
        ...(endpoint === null && extras),
      };
    }
    default:
      if (random.chance(0.3))
        return { type: 'unix', path: `\0${randomPath(random)}`, timeout, lockfile: false, ...extras };
      return { type: 'unix', path: randomPath(random), timeout, lockfile: random.chance(0.5), ...extras };
  }
}

function randomPath(random: Random): string {
  return random.pick(hardParts) + random.text(hardParts, 8);
}

function maybePath(random: Random): string | null {
  return random.chance(0.5) ? randomPath(random) : null;
}
