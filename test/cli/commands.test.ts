import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../scripts/build.ts';
import { commands } from '../../src/control/commands.ts';

test('every command has a file that does it, and there is no other', async () => {
  const files = readdirSync(join(root, 'src/cli/commands')).map((file) => file.replace(/\.ts$/, ''));
  assert.deepEqual(files.sort(), commands.map(({ name }) => name).sort());
  for (const { name } of commands) {
    const program: { run?: unknown } = await import(`../../src/cli/commands/${name}.ts`);
    assert.equal(typeof program.run, 'function', name);
  }
});
