/** What is compared: programs that forward a port, each with a configuration that logs nothing of its connections unless that is what is measured. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import http from 'node:http';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openListener } from '../../src/net/open.ts';
import { answers, freePort } from './ports.ts';
import { findProgram, run, start } from './program.ts';
import type { Running } from './program.ts';
import type { UpstreamTls } from './tls.ts';

const here = dirname(fileURLToPath(import.meta.url));

/** For 5,000 connections that all are made at once, and no more than the kernel's usual limit. */
export const backlog = 4096;

export type PeerOptions = {
  /** A directory of its own, which is there. */
  dir: string;
  port: number;
  upstreamPort: number;
  /** Terminate TLS with this PEM file (key and certificate). */
  pem: string | null;
  /** Where there is one, the same is forwarded without TLS from the client. */
  plainPort?: number | null;
  /** The backend speaks TLS, and its certificate is taken for good; null: it does not. */
  upstreamTls?: UpstreamTls | null;
  signal: AbortSignal;
};

export type Peer = {
  name: string;
  /** Program that it needs: a name or a path. */
  program: string;
  /** Arguments that make the program say its version. */
  versionArgs: readonly string[];
  speaksTls: boolean;
  isPlain: boolean;
  /** It speaks TLS to a backend, and can be kept from resuming sessions. */
  speaksTlsUpstream?: boolean;
  /** And it resumes them. */
  resumesUpstream?: boolean;
  /** Its first requests are slow, because the code is not compiled before. */
  compilesAsItRuns?: boolean;
  /** Default 2, one a side. */
  descriptorsPerConnection?: number;
  /** It gives memory back when nothing happens for so long. Default: at once or never. */
  restsWithinMs?: number;
  start(options: PeerOptions): Promise<Running>;
};

export type RunningPeer = Running & {
  name: string;
  port: number;
  /** Where the same is forwarded without TLS; null: it is not. */
  plainPort: number | null;
  descriptorsPerConnection: number;
  restsWithinMs: number;
};

/** Arguments and files of one start. */
type Setup = { args: readonly string[]; config?: string };

/** A peer that needs no more than a configuration file, at `dir`/peer.conf, and arguments. */
function configured(peer: Omit<Peer, 'start'>, setUp: (options: PeerOptions & { file: string }) => Setup): Peer {
  return {
    ...peer,
    async start(options) {
      const file = join(options.dir, 'peer.conf');
      const { args, config } = setUp({ ...options, file });
      if (config !== undefined) writeFileSync(file, config);
      return start(findProgram(peer.program)!, args, { output: join(options.dir, 'output') });
    },
  };
}

/** How a build of grace is run: an executable as it is, a bundle or a source file with Node. */
export function graceCommand(path: string): { file: string; args: string[] } {
  return /\.[cm]?[jt]s$/.test(path) ? { file: process.execPath, args: [path] } : { file: path, args: [] };
}

/** What a peer does with PROXY headers: by default it knows nothing of them. */
export type HeaderSetup = { takesHeaders?: boolean; sendsHeaders?: boolean };

export type GraceSetup = HeaderSetup & {
  path: string;
  engine: string;
  threads?: number;
  /** Format of an access log; default none. */
  accessLog?: 'json' | 'text';
  /** Time between two looks at its metrics; default none. */
  scrapeMs?: number;
  /** Parameters of its source, as they are written behind it. */
  limits?: string;
  /** Most connections of all its rules; default no limit. */
  maxconn?: number;
  /** So many addresses have come before. */
  addresses?: number;
};

export function grace(
  name: string,
  {
    path,
    engine,
    threads = 1,
    accessLog,
    scrapeMs,
    limits = '',
    maxconn,
    addresses = 0,
    takesHeaders,
    sendsHeaders,
  }: GraceSetup,
): Peer {
  const { file, args } = graceCommand(path);
  const flags = ['--engine', engine, ...(engine === 'native' ? ['--threads', `${threads}`] : [])];
  return {
    name,
    program: file,
    versionArgs: [...args, '--version'],
    speaksTls: true,
    isPlain: true,
    speaksTlsUpstream: true,
    resumesUpstream: engine === 'native',
    compilesAsItRuns: true,
    restsWithinMs: 36_000,
    async start({ dir, port, upstreamPort, pem, plainPort = null, upstreamTls = null, signal }) {
      const state = join(dir, 'state');
      const admin = join(dir, 'admin.sock');
      const observed = [
        ...(accessLog === undefined ? [] : ['--access-log', join(dir, 'access.log'), '--access-log-format', accessLog]),
        ...(scrapeMs === undefined ? [] : ['--admin', `unix:${admin}`]),
        ...(maxconn === undefined ? [] : ['--maxconn', `${maxconn}`]),
      ];
      const daemon = start(file, [...args, '-d', state, 'daemon', '--no-keeper', ...flags, ...observed], {
        output: join(dir, 'output'),
      });
      try {
        await waitForDaemon([file, ...args, '-d', state], signal);
        const plainOn = (own: number) =>
          `tcp:${own}:interface=127.0.0.1:backlog=${backlog}${takesHeaders ? ':proxy=accept' : ''}`;
        const source =
          pem === null ? plainOn(port) : `ssl:${port}:interface=127.0.0.1:backlog=${backlog}:privateKey=${pem}`;
        const dst =
          upstreamTls !== null
            ? `tls:127.0.0.1:${upstreamPort}:insecure=yes`
            : `tcp:127.0.0.1:${upstreamPort}${sendsHeaders ? ':proxy=v2' : ''}`;
        await run(file, [...args, '-d', state, 'start', `${source}${limits}`, dst], { signal });
        if (plainPort !== null) await run(file, [...args, '-d', state, 'start', plainOn(plainPort), dst], { signal });
        await comeFrom(addresses, { port, signal });
        return scrapeMs === undefined ? daemon : scraped(daemon, { admin, scrapeMs });
      } catch (error) {
        await daemon.stop();
        throw error;
      }
    },
  };
}

/** Connect once from each of so many addresses of the loopback network. */
async function comeFrom(addresses: number, { port, signal }: { port: number; signal: AbortSignal }): Promise<void> {
  let next = 0;
  const comeInTurn = async () => {
    while (next < addresses) {
      const number = next++;
      const localAddress = `127.${1 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
      const client = connect({ host: '127.0.0.1', port, localAddress });
      await once(client, 'connect', { signal });
      client.resetAndDestroy();
    }
  };
  await Promise.all(Array.from({ length: 16 }, comeInTurn));
}

/** Its metrics are read again and again, as Prometheus does it. */
function scraped(daemon: Running, { admin, scrapeMs }: { admin: string; scrapeMs: number }): Running {
  const timer = setInterval(() => {
    http.get({ socketPath: admin, path: '/metrics' }, (response) => void response.resume()).on('error', () => {});
  }, scrapeMs);
  void daemon.ended.then(() => clearInterval(timer));
  return daemon;
}

async function waitForDaemon([file, ...args]: string[], signal: AbortSignal): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await run(file!, [...args, 'status'], { signal });
      return;
    } catch (error) {
      if (tries === 50 || signal.aborted) throw error;
    }
  }
}

export function haproxy(
  name: string,
  {
    splices = false,
    threads = 1,
    takesHeaders,
    sendsHeaders,
  }: { splices?: boolean; threads?: number } & HeaderSetup = {},
): Peer {
  const speaksTls = !splices;
  const peer = {
    name,
    program: 'haproxy',
    versionArgs: ['-v'],
    speaksTls,
    isPlain: true,
    speaksTlsUpstream: speaksTls,
    resumesUpstream: speaksTls,
  };
  return configured(peer, ({ file, port, upstreamPort, pem, plainPort = null, upstreamTls = null }) => ({
    args: ['-db', '-f', file],
    config: `
global
  nbthread ${threads}
  maxconn 6000
defaults
  mode tcp
  timeout connect 30s
  timeout client 1h
  timeout server 1h
${splices ? '  option splice-auto' : ''}
listen forward
  bind 127.0.0.1:${port} backlog ${backlog}${takesHeaders ? ' accept-proxy' : ''}${pem === null ? '' : ` ssl crt ${pem}`}
  ${plainPort === null ? '' : `bind 127.0.0.1:${plainPort} backlog ${backlog}`}
  server upstream 127.0.0.1:${upstreamPort}${sendsHeaders ? ' send-proxy-v2' : ''}${upstreamTls === null ? '' : ` ssl verify none${upstreamTls === 'full' ? ' no-ssl-reuse' : ''}`}
`,
  }));
}

/** Of both sides; nginx keeps memory for each that it may have. */
const connectionsForMemory = 10_240;

const nginxStreamModule = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** It sends headers of version 1. */
export function nginx(
  name: string,
  { threads = 1, takesHeaders, sendsHeaders }: { threads?: number } & HeaderSetup = {},
): Peer {
  const peer = {
    name,
    program: 'nginx',
    versionArgs: ['-v'],
    speaksTls: true,
    isPlain: true,
    speaksTlsUpstream: true,
    resumesUpstream: true,
  };
  return configured(peer, ({ dir, file, port, upstreamPort, pem, plainPort = null, upstreamTls = null }) => ({
    args: ['-p', dir, '-c', file, '-e', 'stderr'],
    config: `
${existsSync(nginxStreamModule) ? `load_module ${nginxStreamModule};` : ''}
worker_processes ${threads}; daemon off; pid ${dir}/pid; error_log stderr;
events { worker_connections ${connectionsForMemory}; }
stream {
  access_log off;
  server {
    listen 127.0.0.1:${port} ${pem === null ? '' : 'ssl'} backlog=${backlog}${takesHeaders ? ' proxy_protocol' : ''};
    ${plainPort === null ? '' : `listen 127.0.0.1:${plainPort} backlog=${backlog};`}
    ${sendsHeaders ? 'proxy_protocol on;' : ''}
    ${upstreamTls === null ? '' : `proxy_ssl on; proxy_ssl_protocols TLSv1.3; proxy_ssl_session_reuse ${upstreamTls === 'full' ? 'off' : 'on'};`}
    ${pem === null ? '' : `ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate ${pem}; ssl_certificate_key ${pem};`}
    proxy_pass 127.0.0.1:${upstreamPort}; proxy_timeout 1h;
  }
}
`,
  }));
}

export const socketProxyd: Peer = {
  name: 'systemd-socket-proxyd',
  program: 'systemd-socket-proxyd',
  versionArgs: ['--version'],
  speaksTls: false,
  isPlain: true,
  descriptorsPerConnection: 6, // a pipe each way beside the sockets
  async start({ dir, port, upstreamPort }) {
    const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port, backlog }, { name: 'bench' });
    try {
      // As systemd starts it (IgnoreSIGPIPE=yes): otherwise it ends when a client leaves early.
      const args = ['--connections-max=20000', `127.0.0.1:${upstreamPort}`];
      return start(findProgram('systemd-socket-proxyd')!, args, {
        output: join(dir, 'output'),
        env: { LISTEN_FDS: '1' },
        descriptor: listener.fd,
        ignoresSigpipe: true,
      });
    } finally {
      listener.close();
    }
  },
};

export const rinetd = configured(
  { name: 'rinetd', program: 'rinetd', versionArgs: ['-v'], speaksTls: false, isPlain: true },
  ({ dir, file, port, upstreamPort }) => ({
    args: ['-f', '-c', file],
    config: `127.0.0.1 ${port} 127.0.0.1 ${upstreamPort}\npidlogfile ${dir}/pid\n`,
  }),
);

export const socat = configured(
  { name: 'socat', program: 'socat', versionArgs: ['-V'], speaksTls: false, isPlain: true },
  ({ port, upstreamPort }) => ({
    args: [`TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork,backlog=${backlog}`, `TCP:127.0.0.1:${upstreamPort}`],
  }),
);

/** `program`: a copy of Node's executable, where the pages that this benchmark shares with it would distort its memory. */
export function nodePipe(program: string): Peer {
  return configured(
    {
      name: 'node:net pipe',
      program,
      versionArgs: ['--version'],
      speaksTls: false,
      isPlain: true,
      compilesAsItRuns: true,
    },
    ({ port, upstreamPort }) => ({
      args: [join(here, 'node-pipe.ts'), `${port}`, `${upstreamPort}`],
    }),
  );
}

export const hitch = configured(
  { name: 'hitch', program: 'hitch', versionArgs: ['--version'], speaksTls: true, isPlain: false },
  ({ file, port, upstreamPort, pem }) => ({
    args: [`--config=${file}`],
    config: `
frontend = { host = "127.0.0.1" port = "${port}" }
backend = "[127.0.0.1]:${upstreamPort}"
pem-file = "${pem}"
workers = 1
backlog = ${backlog}
daemon = off
log-level = 1
${process.getuid?.() === 0 ? 'user = "nobody"' : ''}
`,
  }),
);

export const stunnel = configured(
  { name: 'stunnel4', program: 'stunnel4', versionArgs: ['-version'], speaksTls: true, isPlain: false },
  ({ file, port, upstreamPort, pem }) => ({
    args: [file],
    config: `
foreground = yes
debug = emerg
syslog = no
pid =
[forward]
accept = 127.0.0.1:${port}
connect = 127.0.0.1:${upstreamPort}
cert = ${pem}
`,
  }),
);

/** Start a peer and wait until it accepts. The caller stops it. */
export async function startPeer(
  peer: Peer,
  { forwardsPlainToo = false, ...options }: Omit<PeerOptions, 'port' | 'plainPort'> & { forwardsPlainToo?: boolean },
): Promise<RunningPeer> {
  const port = await freePort();
  const plainPort = forwardsPlainToo ? await freePort() : null;
  mkdirSync(options.dir, { recursive: true });
  const running = await peer.start({ ...options, port, plainPort });
  try {
    await answers(port, { ended: running.ended, signal: options.signal });
    return {
      ...running,
      name: peer.name,
      port,
      plainPort,
      descriptorsPerConnection: peer.descriptorsPerConnection ?? 2,
      restsWithinMs: peer.restsWithinMs ?? 0,
    };
  } catch (error) {
    const words = running.lastWords();
    await running.stop();
    throw new Error(`it does not serve: ${(error as Error).message}; it ${words}`);
  }
}
