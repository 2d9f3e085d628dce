/** Who floods one rule takes nothing of the others, nor of those who command the daemon. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime, program } from './grace.ts';

const timeout = 300_000;
const silent = new URL('fixtures/silent-clients.ts', import.meta.url).pathname;

const floods = [
  { clients: 10_000, descriptors: null, of: 'thousands of silent clients' },
  { clients: 500, descriptors: 300, of: 'as many silent clients as there are descriptors' },
] as const;

for (const engine of ['native', 'portable'] as const) {
  for (const { clients: most, descriptors, of } of floods) {
    // The portable engine takes a minute for so many on a machine that is busy.
    const clients = engine === 'portable' ? Math.min(most, 3000) : most;
    const skip =
      (process.platform !== 'linux' && 'Linux only') ||
      (runtime === 'deno' && (engine === 'native' || 'Deno accepts more than it is asked to'));
    test(`under ${of} of one rule the others and commands go on (${engine})`, { timeout, skip }, async (t) => {
      const grace = makeGrace(t);
      const backend = await startBackend(t, 'A');
      const quiet = await startBackend(t, 'B');
      const limit = descriptors === null ? 'true' : `ulimit -n ${descriptors}`;
      const daemon = spawn(
        'sh',
        ['-c', `${limit} && exec "$@"`, 'sh', ...program, '-d', grace.dir, 'daemon', '--engine', engine, '--no-keeper'],
        {
          stdio: 'ignore',
        },
      );
      t.after(() => void daemon.kill('SIGKILL'));
      await until('it serves', () => grace.log().includes('serving'));
      const [flooded, other] = ['tcp:0:interface=127.0.0.1', 'tcp:0:interface=127.0.0.1:idle=1h'];
      await grace.ok('start', '--name', 'flooded', flooded, backend.endpoint);
      await grace.ok('start', '--name', 'other', other, quiet.endpoint);
      const flood = spawn(process.execPath, [silent, `${await grace.port(flooded)}`, `${clients}`], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      t.after(() => void flood.kill('SIGKILL'));
      await once(flood.stdout, 'data');
      const port = await grace.port(other);
      const latencies: number[] = [];
      const served = [];
      for (let count = 0; count < 5; count++) {
        const startMs = performance.now();
        const client = await openClient(t, { port });
        assert.equal(await client.line(), 'B');
        latencies.push(performance.now() - startMs);
        served.push(client);
      }
      const commandMs = performance.now();
      const rows = await grace.ls();
      t.diagnostic(
        `new connections of the other rule: ${latencies.map(Math.round).join()} ms, ls: ${Math.round(performance.now() - commandMs)} ms`,
      );
      assert.equal(rows.find(({ name }) => name === 'other')?.connections, 5);
      const held = rows.find(({ name }) => name === 'flooded')?.connections ?? 0;
      assert.ok(held > 0 && held <= clients, `${held}`);
      if (descriptors === null) await grace.ok('start', 'tcp:0:interface=127.0.0.1:backlog=7', quiet.endpoint);
      assert.equal(await served[0]!.echo('still there'), 'still there');
    });
  }
}
