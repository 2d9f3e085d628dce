/** The files of scripts/monitoring, and a real Prometheus that scrapes a daemon. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openClient, startBackend } from '../e2e/backend.ts';
import { makeGrace, ownLoopback, root } from '../e2e/grace.ts';
import { until } from '../until.ts';

const files = join(root, 'scripts/monitoring');
const isThere = (program: string) => spawnSync(program, ['--version']).error === undefined;
const skip = ['prometheus', 'promtool'].every(isThere) ? false : 'there is no prometheus (Debian: prometheus)';

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'grace-prometheus-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function readFiles(): { alerts: string; dashboard: string } {
  const [alerts, dashboard] = ['alerts.yaml', 'dashboard.json'].map((name) => readFileSync(join(files, name), 'utf8'));
  return { alerts: alerts!, dashboard: dashboard! };
}

test('alerts and dashboard speak of metrics that there are', () => {
  const page = readFileSync(join(root, 'src/daemon/README.md'), 'utf8');
  const { alerts, dashboard } = readFiles();
  const names = new Set(`${alerts} ${dashboard}`.match(/\bgrace_[a-z_]+/g));
  const unknown = [...names].filter((name) => !page.includes(`\`${name.replace(/_bucket$/, '')}\``));
  assert.deepEqual(unknown, []);
  assert.ok(names.size > 15);
});

test('every panel of the dashboard has a place and a query of its own', () => {
  const { panels } = JSON.parse(readFiles().dashboard) as {
    panels: { id: number; title: string; targets: { expr: string }[]; gridPos: { x: number; y: number } }[];
  };
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  assert.equal(new Set(panels.map(({ gridPos: { x, y } }) => `${x} ${y}`)).size, panels.length);
  for (const { title, targets } of panels) assert.ok(targets.length > 0, title);
});

const series = (name: string, values: string) => `      - series: '${name}'\n        values: '${values}'\n`;

test('promtool takes the files, and each alert is raised when it should be', { skip, timeout: 60_000 }, (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'token'), 'x');
  const config = readFileSync(join(files, 'prometheus.yaml'), 'utf8')
    .replaceAll('/etc/grace/admin-token', join(dir, 'token'))
    .replace('alerts.yaml', join(files, 'alerts.yaml'));
  writeFileSync(join(dir, 'prometheus.yaml'), config);
  // So many seconds after the epoch, at which these tests begin.
  const cases = [
    ['GraceDown', 5, series('up{job="grace"}', '0x10')],
    ['GraceRuleNotServed', 5, series('grace_rules{state="failed"}', '1x10')],
    [
      'GraceDialFailures',
      15,
      series('grace_dial_failures_total{src="a",cause="refused"}', '0+10x20') +
        series('grace_dial_failures_total{src="a",cause="timeout"}', '0+10x20') +
        series('grace_connections_total{src="a"}', '0+100x20'),
    ],
    [
      'GraceCertificateEndsSoon',
      90,
      series('grace_certificate_expiry_timestamp_seconds{src="a",name="b"}', '1000000x100'),
    ],
    ['GraceCertificateHasEnded', 5, series('grace_certificate_expiry_timestamp_seconds{src="a",name="b"}', '100x100')],
    ['GraceOldGenerationStays', 420, series('grace_generations', '2x500')],
    ['GraceCrashed', 5, series('grace_crashes_total', '0x2 1x10')],
    ['GraceRestartFailed', 5, series('grace_restart_failures_total', '0x2 1x10')],
    [
      'GraceShortOfDescriptors',
      10,
      series('process_open_fds{job="grace"}', '95x20') + series('process_max_fds{job="grace"}', '100x20'),
    ],
  ] as const;
  const names = [...readFiles().alerts.matchAll(/alert: (\w+)/g)].map(([, name]) => name);
  assert.deepEqual(cases.map(([name]) => name).sort(), names.sort());
  const tests = cases.map(
    ([name, minutes, input]) =>
      `  - interval: 1m\n    input_series:\n${input}    promql_expr_test:\n      - expr: count(ALERTS{alertname="${name}",alertstate="firing"})\n        eval_time: ${minutes}m\n        exp_samples: [{ value: 1, labels: '{}' }]\n`,
  );
  const text = `rule_files: ['${join(files, 'alerts.yaml')}']\nevaluation_interval: 1m\ntests:\n${tests.join('')}`;
  writeFileSync(join(dir, 'tests.yaml'), text);
  for (const args of [
    ['check', 'config', join(dir, 'prometheus.yaml')],
    ['test', 'rules', join(dir, 'tests.yaml')],
  ]) {
    const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' });
    assert.equal(status, 0, `${stdout}${stderr}`);
  }
});

test(
  'Prometheus scrapes with the token, through restarts, and no counter goes back',
  { skip, timeout: 240_000 },
  async (t) => {
    const grace = makeGrace(t);
    const dir = tempDir(t);
    const backend = await startBackend(t, 'backend');
    const token = join(dir, 'token');
    writeFileSync(token, '0123456789abcdef0123', { mode: 0o600 });
    const src = 'tcp:0:interface=127.0.0.1';
    await grace.ok('start', '--admin', src, '--admin-token', token, src, backend.endpoint);
    const { admin } = (await grace.status()) as { admin?: string };
    const config = readFileSync(join(files, 'prometheus.yaml'), 'utf8')
      .replace('15s', '1s')
      .replaceAll('/etc/grace/admin-token', token)
      .replace('alerts.yaml', join(files, 'alerts.yaml'))
      .replace('127.0.0.1:9900', admin!);
    writeFileSync(join(dir, 'prometheus.yaml'), config);
    const address = `${ownLoopback}:9090`;
    const prometheus = spawn(
      'prometheus',
      [
        `--config.file=${join(dir, 'prometheus.yaml')}`,
        `--storage.tsdb.path=${join(dir, 'data')}`,
        `--web.listen-address=${address}`,
      ],
      { stdio: 'ignore' },
    );
    t.after(async () => {
      if (prometheus.exitCode !== null) return;
      prometheus.kill('SIGKILL');
      await once(prometheus, 'exit');
    });
    const value = async (query: string): Promise<number | null> => {
      try {
        const answer = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(query)}`);
        const { data } = (await answer.json()) as { data: { result: { value: [number, string] }[] } };
        return data.result[0] === undefined ? null : Number(data.result[0].value[1]);
      } catch {
        return null; // it is starting
      }
    };
    await until('it scrapes', async () => (await value('up{job="grace"}')) === 1);
    const client = await openClient(t, { port: await grace.port(src) });
    await client.line();
    await client.echo('x'.repeat(1000));
    await until('it sees the bytes', async () => ((await value('sum(grace_bytes_total{direction="in"})')) ?? 0) > 1000);
    await grace.ok('restart');
    await client.echo('y'.repeat(1000));
    await until('it sees the restart', async () => (await value('grace_restarts_total')) === 1);
    await until(
      'it sees more bytes',
      async () => ((await value('sum(grace_bytes_total{direction="in"})')) ?? 0) > 2000,
    );
    assert.equal(await value('sum(grace_connections)'), 1);
    assert.equal(await value('min_over_time(up{job="grace"}[10m])'), 1);
    assert.equal(await value('sum(resets(grace_bytes_total[10m])) + sum(resets(grace_connections_total[10m]))'), 0);
    assert.equal(await value('count(ALERTS{alertstate="firing"})'), null);
  },
);
