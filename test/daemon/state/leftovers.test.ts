import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { statePaths } from '../../../src/control/paths.ts';
import { removeLeftovers } from '../../../src/daemon/state/leftovers.ts';
import { makeTempDir } from '../../net/temp-dir.ts';

test('what processes that have ended left half written is removed, and nothing else', () => {
  using temp = makeTempDir();
  const { pid: dead } = spawnSync('true');
  const living = process.pid;
  const kept = [
    'state.json',
    'state.json.damaged-20260102030405678-1',
    'counters.json',
    'services.json',
    'grace.pid',
    'grace.sock',
    'grace.log.1',
    `grace-${dead}.sock`,
    `state.json.${living}`,
    `keeper-${living}.sock`,
  ];
  const left = ['state.json', 'counters.json', 'services.json', 'grace.pid', 'grace.sock']
    .map((name) => `${name}.${dead}`)
    .concat(`keeper-${dead}.sock`);
  for (const name of [...kept, ...left]) writeFileSync(temp.file(name), '');
  removeLeftovers(statePaths(temp.path));
  assert.deepEqual(readdirSync(temp.path).sort(), kept.sort());
});
