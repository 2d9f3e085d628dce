import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { root } from '../e2e/grace.ts';
import { blocksOf, directory, makePlace, openShell } from './recipe.ts';

type Service = {
  image?: string;
  build?: string;
  ports?: string[];
  volumes?: string[];
  restart: string;
  stop_grace_period?: string;
};

const dockerfile = readFileSync(join(root, 'scripts/release/Dockerfile'), 'utf8');
const instruction = (name: string) => new RegExp(`^${name} (.*)$`, 'm').exec(dockerfile)?.[1] ?? '';
const words = (json: string): string => (JSON.parse(json) as string[]).join(' ');

test('the compose file has what its services and the Dockerfile need', { timeout: 60_000 }, () => {
  const { services, volumes } = parse(readFileSync(join(directory, 'compose.yaml'), 'utf8')) as {
    services: Record<string, Service>;
    volumes: object;
  };
  assert.deepEqual(Object.keys(services), ['grace', 'blue', 'green']);
  assert.deepEqual(Object.keys(volumes), ['grace']);
  const { build, ports, volumes: mounts, stop_grace_period: patience } = services['grace']!;
  assert.deepEqual([build, ports, patience], ['.', ['80:80'], '40s']);
  assert.deepEqual(mounts, [`grace:${instruction('VOLUME')}`]);
  assert.equal(instruction('ENV'), `GRACE_DIR=${instruction('VOLUME')}`);
  for (const name of ['blue', 'green'])
    assert.deepEqual(services[name], { image: `\${${name.toUpperCase()}:-app:1}`, restart: 'unless-stopped' });
});

function obstacle(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'it takes root on Linux to make a network';
  if (spawnSync('unshare', ['--net', '--mount', '--pid', '--fork', 'true']).status !== 0)
    return 'no namespaces can be made here';
  return spawnSync('ip', ['-V']).error ? 'it needs ip (iproute2)' : false;
}

test(
  'the recipe for Docker Compose deploys, in a network of its own with the commands of the image',
  { timeout: 120_000, skip: obstacle() },
  async (t) => {
    const { env, path } = makePlace(t);
    copyFileSync(join(import.meta.dirname, 'fixtures/docker.sh'), join(path, 'bin/docker'));
    writeFileSync(join(path, 'hosts'), '127.0.0.1 localhost\n127.0.0.2 blue\n127.0.0.3 green\n');
    const image = {
      IMAGE_ENTRY: words(instruction('ENTRYPOINT')),
      IMAGE_HEALTH: words(instruction('HEALTHCHECK').replace(/^CMD /, '')),
      IMAGE_ENV: `GRACE_DIR=${join(path, 'volume')}`,
    };
    const shell = openShell(t, {
      env: { ...env, ...image, RUN: path, APP: join(directory, 'app.js') },
      by: ['unshare', '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
    });
    await shell.run(`ip link set lo up; mount --bind ${path}/hosts /etc/hosts`);
    const [first = '', deploy = '', ...more] = blocksOf('Docker Compose');
    assert.deepEqual(more, []);
    const ask = () =>
      shell.run('exec 3<>/dev/tcp/127.0.0.1/80; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; tail -n 1 <&3; exec 3<&-');
    assert.equal(await shell.run(first), 'Started\n');
    assert.equal(await ask(), 'version 1\n');
    assert.equal(await shell.run(deploy), 'Switched\n');
    assert.equal(await ask(), 'version 2\n');
    // A container that is made anew has the volume.
    await shell.run('docker compose stop grace; docker compose up -d --wait grace');
    assert.equal(await ask(), 'version 2\n');
    await shell.run('docker compose stop grace; docker compose stop green');
    assert.ok(existsSync(join(path, 'volume/state.json')));
  },
);
