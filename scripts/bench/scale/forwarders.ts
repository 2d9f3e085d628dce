/** What is compared at scale: a forwarder of many ports, how it takes up its configuration anew, and what it says of itself. */
import { writeFileSync } from 'node:fs';
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { call } from '../../../src/control/client.ts';
import { backlog, graceCommand } from '../peers.ts';
import { answers } from '../ports.ts';
import { findProgram, run, start } from '../program.ts';
import type { Running } from '../program.ts';

/** A port that is forwarded to another of 127.0.0.1. */
export type Forward = { host: string; port: number; upstreamPort: number };

export type ForwarderOptions = {
  /** A directory of its own, which is there. */
  dir: string;
  forwards: readonly Forward[];
  /** Most connections at a time. */
  maxConnections: number;
  /** Descriptors that it may have. */
  descriptors: number;
  signal: AbortSignal;
};

export type RunningForwarder = Running & {
  /** The process that moves the bytes. */
  servingPid(): Promise<number>;
  /** Serve by a new process; resolves when it does. */
  restart(): Promise<void>;
  /** What it says of what it forwards, in characters. */
  list(): Promise<string>;
  /** The same for Prometheus. */
  metrics(): Promise<string>;
  /** Stop a forward and start it again, by a client that is there; null where only a new configuration can. */
  cycle: ((forward: Forward) => Promise<void>) | null;
};

export type Forwarder = {
  name: string;
  program: string;
  versionArgs: readonly string[];
  /** It gives memory back when nothing happens for so long. */
  restsWithinMs: number;
  start(options: ForwarderOptions): Promise<RunningForwarder>;
};

/** Longest for a restart of thousands of rules, in seconds. */
const restartTimeoutS = 100;

/** Between two looks whether a new process serves, in milliseconds. */
const lookMs = 5;

export function grace(name: string, path: string): Forwarder {
  const { file, args } = graceCommand(path);
  return {
    name,
    program: file,
    versionArgs: [...args, '--version'],
    restsWithinMs: 5000,
    async start({ dir, forwards, descriptors, signal }) {
      const state = join(dir, 'state');
      const command = (...words: string[]) =>
        run(file, [...args, '-d', state, ...words], { signal, timeoutMs: restartTimeoutS * 1000 });
      const daemon = start(file, [...args, '-d', state, 'daemon', '--threads', '1'], {
        output: join(dir, 'output'),
        descriptors,
      });
      const isUp = () =>
        command('status').then(
          () => true,
          () => false,
        );
      while (!(await isUp())) await delay(lookMs, undefined, { signal });
      const rules = join(dir, 'rules.yaml');
      writeFileSync(rules, `rules:\n${forwards.map(ruleOf).join('')}`);
      try {
        await command('apply', rules);
      } catch (error) {
        await daemon.stop();
        throw error;
      }
      return {
        ...daemon,
        servingPid: async () => (JSON.parse(await command('status', '--json')) as { pid: number }).pid,
        restart: async () => void (await command('restart', '--timeout', `${restartTimeoutS}s`)),
        list: () => command('ls'),
        metrics: () => command('metrics'),
        async cycle(forward) {
          const [src, dst] = [sourceOf(forward), `tcp:127.0.0.1:${forward.upstreamPort}`].map(textOf);
          await call(state, { command: 'stop', src: src!, timeoutMs: 0 }, { signal });
          await call(state, { command: 'start', src: src!, dst: dst! }, { signal });
        },
      };
    },
  };
}

function sourceOf({ host, port }: Forward): string {
  return `tcp:${port}:interface=${host}:backlog=${backlog}`;
}

function textOf(endpoint: string): { typed: string; absolute: string } {
  return { typed: endpoint, absolute: endpoint };
}

function ruleOf(forward: Forward): string {
  return `  - src: ${sourceOf(forward)}\n    dst: tcp:127.0.0.1:${forward.upstreamPort}\n`;
}

/** With a master, as a service has it: a new worker takes the sockets over, and the old one goes on with its connections. */
export function haproxy(name: string): Forwarder {
  return {
    name,
    program: 'haproxy',
    versionArgs: ['-v'],
    restsWithinMs: 0,
    async start({ dir, forwards, maxConnections, descriptors, signal }) {
      const socket = join(dir, 'stats.sock');
      const exporter = join(dir, 'metrics.sock');
      const file = join(dir, 'haproxy.conf');
      writeFileSync(file, configurationOf({ forwards, maxConnections, socket, exporter }));
      const running = start(findProgram('haproxy')!, ['-W', '-db', '-f', file], {
        output: join(dir, 'output'),
        descriptors,
      });
      const servingPid = async () => Number(/^Pid: ([0-9]+)/m.exec(await ask(socket, 'show info\n'))?.[1] ?? 0);
      const servedBy = async (isIt: (pid: number) => boolean) => {
        while (!isIt(await servingPid().catch(() => 0))) await delay(lookMs, undefined, { signal });
      };
      const [first] = forwards;
      try {
        await answers(first!.port, { host: first!.host, ended: running.ended, signal });
        await servedBy((pid) => pid > 0);
      } catch (error) {
        const words = running.lastWords();
        await running.stop();
        throw new Error(`${(error as Error).message}; it ${words}`, { cause: error });
      }
      return {
        ...running,
        servingPid,
        async restart() {
          const before = await servingPid();
          process.kill(running.pid, 'SIGUSR2');
          await servedBy((pid) => pid > 0 && pid !== before);
        },
        list: () => ask(socket, 'show stat\n'),
        metrics: () => ask(exporter, 'GET /metrics HTTP/1.0\r\n\r\n'),
        cycle: null,
      };
    },
  };
}

function configurationOf({
  forwards,
  maxConnections,
  socket,
  exporter,
}: Pick<ForwarderOptions, 'forwards' | 'maxConnections'> & { socket: string; exporter: string }): string {
  const listens = forwards.map(
    ({ host, port, upstreamPort }, index) => `
listen forward${index}
  bind ${host}:${port} backlog ${backlog}
  server upstream 127.0.0.1:${upstreamPort}
`,
  );
  return `
global
  nbthread 1
  maxconn ${maxConnections}
  stats socket ${socket} level admin expose-fd listeners
defaults
  mode tcp
  maxconn ${maxConnections}
  timeout connect 30s
  timeout client 1h
  timeout server 1h
frontend metrics
  bind ${exporter}
  mode http
  http-request use-service prometheus-exporter
${listens.join('')}`;
}

/** All that is answered over a Unix socket. */
async function ask(path: string, question: string): Promise<string> {
  const socket = net.connect({ path }).setEncoding('utf8');
  let answer = '';
  socket.on('data', (text: string) => (answer += text));
  socket.write(question);
  await once(socket, 'close');
  return answer;
}
