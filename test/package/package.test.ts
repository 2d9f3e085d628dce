import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const program = `
import { createServer } from 'node:http';
import type { Listener } from 'grace/net';
import { Net } from 'grace/net';
import { serve } from 'grace/http';

const net = new Net();
const listener: Listener = await net.listenTCP({ host: '127.0.0.1', port: 0 });
const { port } = listener.address as { port: number };
listener.close();
const stop = new AbortController();
const done: Promise<void> = serve({ server: createServer(), address: \`127.0.0.1:\${port}\` }, { signal: stop.signal });
stop.abort();
await done;
console.log('served');
`;

test('the packed library holds what a user needs and nothing else, types included', { timeout: 60_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'grace-package-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const packed = await run('npm', ['pack', '--pack-destination', dir], { cwd: root });
  const archive = join(dir, packed.stdout.trim().split('\n').at(-1)!);
  const { stdout: listing } = await run('tar', ['-tzf', archive]);
  const files = listing
    .trim()
    .split('\n')
    .map((name) => name.replace(/^package\//, ''));
  const unexpected = files.filter(
    (name) =>
      !/^(package\.json|README\.md|LICENSE|CHANGELOG\.md|dist\/lib\/(error|nearest|one-line|waiting|(net|http|sys)\/[\w-]+)\.(js|d\.ts)|src\/((net|http)\/)?README\.md|src\/http\/examples\/[\w-]+\.js)$/.test(
        name,
      ),
  );
  assert.deepEqual(unexpected, []);
  for (const needed of [
    'dist/lib/net/index.js',
    'dist/lib/http/index.d.ts',
    'src/http/README.md',
    'src/net/README.md',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
  ])
    assert.ok(files.includes(needed), needed);

  const installed = join(dir, 'node_modules/grace');
  mkdirSync(installed, { recursive: true });
  await run('tar', ['-xzf', archive, '-C', installed, '--strip-components=1']);
  symlinkSync(join(root, 'node_modules/@types'), join(dir, 'node_modules/@types'));
  symlinkSync(join(root, 'node_modules/undici-types'), join(dir, 'node_modules/undici-types'));
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  writeFileSync(join(dir, 'program.ts'), program);
  await run(
    join(root, 'node_modules/.bin/tsc'),
    ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'esnext', 'program.ts'],
    { cwd: dir },
  );
  assert.equal((await run(process.execPath, ['program.ts'], { cwd: dir })).stdout, 'served\n');
  assert.equal(
    (await run(join(root, 'node_modules/.bin/deno'), ['run', '-A', '--no-check', 'program.ts'], { cwd: dir })).stdout,
    'served\n',
  );
});
