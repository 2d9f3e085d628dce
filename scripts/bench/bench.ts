/**
 * `npm run bench`: grace beside the programs that people forward ports with. All of them run at the
 * same time and are measured in turn, round after round, so that what else the machine does falls on
 * all alike; figures are medians, ratios are to HAProxy. Everything stays on the loopback interface,
 * and nothing is installed: a program that is missing is named and left out.
 *
 *     npm run bench                            everything, some minutes
 *     npm run bench -- --quick                 short measurements, one round
 *     npm run bench -- requests bulk           these sections only
 *     npm run bench -- --rounds 5 --seconds 4 --only grace,HAProxy --json bench.json
 *     npm run bench -- requests --only grace --binary old=/path/a --binary new=/path/b --engine native
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connections, download, latency, memory, bulk, requests } from './measure.ts';
import type { Figures } from './measure.ts';
import { grace, graceCommand, haproxy, hitch, nginx, nodePipe, rinetd, socat, socketProxyd, startNginx, startPeer, stunnel } from './peers.ts';
import type { Peer, RunningPeer } from './peers.ts';
import { answers, findProgram, freePort, run, start } from './program.ts';
import { printTable, summarize } from './table.ts';
import type { Row } from './table.ts';

const here = dirname(fileURLToPath(import.meta.url));
const built = join(here, '../../dist/grace');
const executable = existsSync(built) ? built : null;
const reference = 'HAProxy';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string' },
    threads: { type: 'string', default: '1' },
    binary: { type: 'string', multiple: true, default: [] },
    engine: { type: 'string' },
    json: { type: 'string' },
  },
});
const rounds = Number(flags.rounds ?? (flags.quick ? 1 : 5));
const seconds = Number(flags.seconds ?? (flags.quick ? 1 : 3));

const binaries = flags.binary.map((text) => {
  const [, name = '', path = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (!existsSync(path)) throw new Error(`--binary takes NAME=PATH of a build of grace, not "${text}"`);
  return { name, path: resolve(path) };
});
const engines = (flags.engine ?? (binaries.length > 0 ? 'native' : 'native,portable')).split(',');
const builds = binaries.length > 0 ? binaries : [{ name: '', path: executable ?? join(here, '../../src/main.ts') }];
const graces = engines.flatMap((engine) => builds.map(({ name, path }) =>
  grace(`grace ${engine} ${name}`.trim(), { path, flags: ['--engine', engine, ...(engine === 'native' ? ['--threads', flags.threads] : [])] })));
const peers: readonly Peer[] = [
  haproxy(reference, { splices: false }),
  ...graces,
  // The same program once more: how far its ratio is from 1 is the noise of this machine.
  haproxy('HAProxy again', { splices: false }),
  haproxy('HAProxy splice', { splices: true }),
  nginx, socketProxyd, rinetd, socat, nodePipe, hitch, stunnel,
];

type Needs = 'http' | 'https' | 'iperf3' | 'echo';
type Section = { name: string; title: string; needs: Needs; tool: string | null; measure: (peer: RunningPeer) => Promise<Figures>; rounds?: number; skips?: readonly string[] };

const idleConnections = flags.quick ? 500 : 5000;
const sections: readonly Section[] = [
  { name: 'requests', title: 'Requests over 50 kept connections', needs: 'http', tool: 'wrk', measure: (peer) => requests(peer, { seconds }) },
  { name: 'connections', title: 'A new connection for each request, 20 at a time', needs: 'http', tool: 'wrk', measure: (peer) => connections(peer, { seconds }) },
  { name: 'bulk', title: 'Bulk, 1 stream', needs: 'iperf3', tool: 'iperf3', measure: (peer) => bulk(peer, { seconds: Math.max(2, seconds), streams: 1 }) },
  { name: 'bulk8', title: 'Bulk, 8 streams', needs: 'iperf3', tool: 'iperf3', measure: (peer) => bulk(peer, { seconds: Math.max(2, seconds), streams: 8 }) },
  { name: 'latency', title: 'One quiet connection beside 50 busy ones', needs: 'http', tool: 'wrk', measure: (peer) => latency(peer, { seconds }) },
  { name: 'memory', title: `Memory (PSS), at rest and for each of ${idleConnections} idle connections`, needs: 'echo', tool: null, measure: (peer) => memory(peer, { count: idleConnections }), rounds: 1, skips: ['socat'] },
  { name: 'handshakes', title: 'TLS, a full handshake for each request', needs: 'https', tool: 'wrk', measure: (peer) => connections(peer, { seconds, scheme: 'https' }) },
  { name: 'tls', title: 'TLS, large files over 4 connections', needs: 'https', tool: 'wrk', measure: (peer) => download(peer, { seconds }) },
];

function chosen(peer: Peer, needs: Needs): boolean {
  const only = flags.only?.split(',');
  if (only && peer.name !== reference && !only.some((name) => peer.name.includes(name))) return false;
  return needs === 'https' ? peer.speaksTls : peer.isPlain;
}

async function backends(dir: string) {
  const [httpPort, iperfPort, echoPort] = [await freePort(), await freePort(), await freePort()];
  writeFileSync(join(dir, 'large'), Buffer.alloc(64 * 2 ** 20, 'grace '));
  const running = [
    ...(findProgram('nginx') ? [startNginx(join(dir, 'backend'), `
worker_processes 1; daemon off; pid ${dir}/backend/nginx.pid; error_log ${dir}/backend/nginx.log;
events { worker_connections 18000; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 1h; sendfile on;
  server { listen 127.0.0.1:${httpPort} backlog=4096; location = /large { alias ${dir}/large; } location / { return 200 "hello from behind\\n"; } } }
`)] : []),
    ...(findProgram('iperf3') ? [start(findProgram('iperf3')!, ['-s', '-B', '127.0.0.1', '-p', `${iperfPort}`])] : []),
    start(process.execPath, [join(here, 'idle-server.ts'), `${echoPort}`]),
  ];
  if (findProgram('nginx')) await answers(httpPort);
  if (findProgram('iperf3')) await answers(iperfPort);
  await answers(echoPort);
  return { ports: { http: httpPort, https: httpPort, iperf3: iperfPort, echo: echoPort }, stop: () => Promise.all(running.map((each) => each.stop())) };
}

async function makeCertificate(dir: string): Promise<string> {
  const pem = join(dir, 'bench.pem');
  await run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-keyout', `${pem}.key`, '-out', `${pem}.crt`]);
  writeFileSync(pem, (await run('cat', [`${pem}.key`, `${pem}.crt`])), { mode: 0o600 });
  return pem;
}

async function measureSection(section: Section, { dir, upstreamPort, pem, notes }: { dir: string; upstreamPort: number; pem: string | null; notes: Set<string> }): Promise<Row[]> {
  const running: RunningPeer[] = [];
  try {
    for (const peer of peers.filter((each) => chosen(each, section.needs) && !section.skips?.includes(each.name))) {
      if (!existsSync(peer.program) && !findProgram(peer.program)) {
        notes.add(`${peer.name} is left out: ${peer.program} is not installed`);
        continue;
      }
      try {
        running.push(await startPeer(peer, { dir: join(dir, section.name, peer.name.replaceAll(/[^a-z0-9]/gi, '-')), upstreamPort, pem }));
      } catch (error) {
        notes.add(`${peer.name} is left out of ${section.name}: ${(error as Error).message.split('\n')[0]}`);
      }
    }
    const figures = new Map<string, Figures[]>(running.map(({ name }) => [name, []]));
    for (let round = 0; round < (section.rounds ?? rounds); round++) {
      for (const peer of running.slice()) {
        process.stderr.write(`\r${section.name} ${round + 1}/${section.rounds ?? rounds} ${peer.name}`.padEnd(70));
        try {
          figures.get(peer.name)!.push(await section.measure(peer));
        } catch (error) {
          notes.add(`${peer.name} failed in ${section.name}: ${(error as Error).message.split('\n')[0]}`);
          figures.delete(peer.name);
          running.splice(running.indexOf(peer), 1);
        }
      }
    }
    return summarize(figures, reference);
  } finally {
    await Promise.all(running.map((peer) => peer.stop()));
  }
}

/** How long the commands of grace itself take, with the start of the client included. */
async function measureCommands(dir: string): Promise<Row[]> {
  const { file, args } = graceCommand(builds[0]!.path);
  const state = [...args, '-d', join(dir, 'commands')];
  await run(file, [...state, 'start', `tcp:${await freePort()}:interface=127.0.0.1`, 'tcp:127.0.0.1:9']);
  const time = async (...command: string[]) => {
    const startedAt = performance.now();
    await run(file, [...state, ...command]);
    return performance.now() - startedAt;
  };
  const ls: Figures[] = [];
  const restart: Figures[] = [];
  for (let round = 0; round < Math.max(3, rounds); round++) {
    ls.push({ ms: await time('ls') });
    restart.push({ ms: await time('restart') });
  }
  await run(file, [...state, 'stop']);
  return summarize(new Map([['grace ls', ls], ['grace restart', restart]]), '');
}

async function main(): Promise<void> {
  const names = [...sections.map(({ name }) => name), 'commands'];
  const unknown = positionals.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`there is no section "${unknown}"; there are ${names.join(', ')}`);
  const wanted = (name: string) => positionals.length === 0 || positionals.includes(name);
  const dir = mkdtempSync(join(tmpdir(), 'grace-bench-'));
  const notes = new Set<string>();
  const results: Record<string, Row[]> = {};
  const { ports, stop } = await backends(dir);
  try {
    const pem = findProgram('openssl') ? await makeCertificate(dir) : null;
    for (const section of sections.filter(({ name }) => wanted(name))) {
      if (section.tool !== null && !findProgram(section.tool)) {
        notes.add(`${section.name} is left out: ${section.tool} is not installed`);
        continue;
      }
      if ((section.needs === 'http' || section.needs === 'https') && !findProgram('nginx')) {
        notes.add(`${section.name} is left out: nginx, which answers behind the forwarders, is not installed`);
        continue;
      }
      results[section.name] = await measureSection(section, { dir, upstreamPort: ports[section.needs], pem: section.needs === 'https' ? pem : null, notes });
      console.log(`\n${printTable(`${section.title} (ratio to ${reference})`, results[section.name]!)}`);
    }
    if (wanted('commands')) {
      results['commands'] = await measureCommands(dir);
      console.log(`\n${printTable('Commands', results['commands'])}`);
    }
  } finally {
    await stop();
    rmSync(dir, { recursive: true, force: true });
  }
  for (const note of notes) console.log(`\nnote: ${note}`);
  const machine = { cores: cpus().length, model: cpus()[0]?.model ?? '', kernel: (await run('uname', ['-r'])).trim(), node: process.version };
  console.log(`\n${rounds} rounds of ${seconds} s on ${machine.cores} cores of ${machine.model}, Linux ${machine.kernel}`);
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ machine, rounds, seconds, results, notes: [...notes] }, null, 2)}\n`);
}

await main();
// A socket that a peer never answered must not keep the process.
process.exit();
