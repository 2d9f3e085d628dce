import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tellStrayErrors } from '../../src/daemon/stray-errors.ts';

test('an error that nobody caught is told once, however often it comes', () => {
  const lines: string[] = [];
  const stray = tellStrayErrors({ error: (fields: object) => void lines.push((fields as { error: string }).error) });
  for (let count = 0; count < 3; count++) stray(new Error('no descriptors'));
  stray('odd');
  assert.deepEqual(lines, ['no descriptors', 'odd']);
});
