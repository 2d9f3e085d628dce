/** What is compared: programs that forward a port, each with a configuration for one core. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openListener } from '../../src/net/open.ts';
import { answers, findProgram, freePort, run, start } from './program.ts';
import type { Running } from './program.ts';

const here = dirname(fileURLToPath(import.meta.url));

export type PeerOptions = {
  /** A directory of its own. */
  dir: string;
  port: number;
  upstreamPort: number;
  /** Terminate TLS with this PEM file (key and certificate). */
  pem: string | null;
};

export type Peer = {
  name: string;
  /** Program that it needs. */
  program: string;
  speaksTls: boolean;
  isPlain: boolean;
  start(options: PeerOptions): Promise<{ roots: number[]; stop(): Promise<void> }>;
};

export type RunningPeer = { name: string; port: number; roots: number[]; stop(): Promise<void> };

function one(running: Running): { roots: number[]; stop(): Promise<void> } {
  return { roots: [running.pid], stop: () => running.stop() };
}

/** How a build of grace is started: an executable as it is, a bundle or a source file with Node. */
export function graceCommand(path: string): { file: string; args: string[] } {
  return /\.[cm]?[jt]s$/.test(path) ? { file: process.execPath, args: [path] } : { file: path, args: [] };
}

export function grace(name: string, { path, flags }: { path: string; flags: string[] }): Peer {
  const { file, args } = graceCommand(path);
  return {
    name, program: file, speaksTls: true, isPlain: true,
    async start({ dir, port, upstreamPort, pem }) {
      const state = join(dir, 'state');
      const daemon = start(file, [...args, '-d', state, 'daemon', '--no-keeper', ...flags]);
      const source = pem === null ? `tcp:${port}:interface=127.0.0.1` : `ssl:${port}:interface=127.0.0.1:privateKey=${pem}`;
      const command = [...args, '-d', state, 'start', source, `tcp:127.0.0.1:${upstreamPort}`];
      for (let tries = 0; ; tries++) {
        try {
          await run(file, [...args, '-d', state, 'status']);
          break;
        } catch (error) {
          if (tries > 50) throw error;
        }
      }
      await run(file, command);
      return one(daemon);
    },
  };
}

export function haproxy(name: string, { splices }: { splices: boolean }): Peer {
  return {
    name, program: 'haproxy', speaksTls: !splices, isPlain: true,
    async start({ dir, port, upstreamPort, pem }) {
      const config = join(dir, 'haproxy.cfg');
      const tls = pem === null ? '' : ` ssl crt ${pem}`;
      writeFileSync(config, `
global
  nbthread 1
  maxconn 6000
defaults
  mode tcp
  timeout connect 30s
  timeout client 1h
  timeout server 1h
${splices ? '  option splice-auto\n' : ''}
listen forward
  bind 127.0.0.1:${port}${tls}
  server upstream 127.0.0.1:${upstreamPort}
`);
      return one(start(findProgram('haproxy')!, ['-db', '-f', config]));
    },
  };
}

export const nginx: Peer = {
  name: 'nginx stream', program: 'nginx', speaksTls: true, isPlain: true,
  async start({ dir, port, upstreamPort, pem }) {
    const tls = pem === null ? '' : `ssl_certificate ${pem}; ssl_certificate_key ${pem}; ssl_session_cache off;`;
    const config = `
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_processes 1; daemon off; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log;
events { worker_connections 18000; }
stream { server { listen 127.0.0.1:${port} ${pem === null ? '' : 'ssl'} backlog=4096; ${tls} proxy_pass 127.0.0.1:${upstreamPort}; proxy_timeout 1h; } }
`;
    return one(startNginx(dir, config));
  },
};

export function startNginx(dir: string, config: string): Running {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'nginx.conf'), config);
  return start(findProgram('nginx')!, ['-p', dir, '-c', join(dir, 'nginx.conf'), '-e', join(dir, 'nginx.log')]);
}

export const socketProxyd: Peer = {
  name: 'systemd-socket-proxyd', program: 'systemd-socket-proxyd', speaksTls: false, isPlain: true,
  async start({ port, upstreamPort }) {
    const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port, backlog: 4096 }, { name: 'bench' });
    // LISTEN_PID has to be the program's own, which only a shell that becomes it knows beforehand.
    const command = `LISTEN_PID=$$ exec ${findProgram('systemd-socket-proxyd')} --connections-max=20000 127.0.0.1:${upstreamPort}`;
    const running = start('/bin/sh', ['-c', command], { env: { ...process.env, LISTEN_FDS: '1' }, stdio: ['ignore', 'ignore', 'ignore', listener.fd] });
    listener.close();
    return one(running);
  },
};

export const rinetd: Peer = {
  name: 'rinetd', program: 'rinetd', speaksTls: false, isPlain: true,
  async start({ dir, port, upstreamPort }) {
    writeFileSync(join(dir, 'rinetd.conf'), `127.0.0.1 ${port} 127.0.0.1 ${upstreamPort}\npidlogfile ${dir}/rinetd.pid\n`);
    return one(start(findProgram('rinetd')!, ['-f', '-c', join(dir, 'rinetd.conf')]));
  },
};

export const socat: Peer = {
  name: 'socat', program: 'socat', speaksTls: false, isPlain: true,
  async start({ port, upstreamPort }) {
    return one(start(findProgram('socat')!, [`TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork,backlog=4096`, `TCP:127.0.0.1:${upstreamPort}`]));
  },
};

export const nodePipe: Peer = {
  name: 'node:net pipe', program: process.execPath, speaksTls: false, isPlain: true,
  async start({ port, upstreamPort }) {
    return one(start(process.execPath, [join(here, 'node-pipe.ts'), `${port}`, `${upstreamPort}`]));
  },
};

export const hitch: Peer = {
  name: 'hitch', program: 'hitch', speaksTls: true, isPlain: false,
  async start({ dir, port, upstreamPort, pem }) {
    writeFileSync(join(dir, 'hitch.conf'), `
frontend = { host = "127.0.0.1" port = "${port}" }
backend = "[127.0.0.1]:${upstreamPort}"
pem-file = "${pem}"
workers = 1
write-proxy-v2 = off
daemon = off
`);
    return one(start(findProgram('hitch')!, [`--config=${join(dir, 'hitch.conf')}`]));
  },
};

export const stunnel: Peer = {
  name: 'stunnel4', program: 'stunnel4', speaksTls: true, isPlain: false,
  async start({ dir, port, upstreamPort, pem }) {
    writeFileSync(join(dir, 'stunnel.conf'), `
foreground = yes
pid =
[forward]
accept = 127.0.0.1:${port}
connect = 127.0.0.1:${upstreamPort}
cert = ${pem}
`);
    return one(start(findProgram('stunnel4')!, [join(dir, 'stunnel.conf')]));
  },
};

/** Start a peer and wait until it accepts. */
export async function startPeer(peer: Peer, options: Omit<PeerOptions, 'port'>): Promise<RunningPeer> {
  const port = await freePort();
  mkdirSync(options.dir, { recursive: true });
  const { roots, stop } = await peer.start({ ...options, port });
  try {
    await answers(port);
  } catch (error) {
    await stop();
    throw error;
  }
  return { name: peer.name, port, roots, stop };
}
