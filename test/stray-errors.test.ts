import assert from 'node:assert/strict';
import { test } from 'node:test';
import { strayErrors } from '../src/stray-errors.ts';

test('an error that nobody caught is told once, however often it comes', () => {
  const lines: string[] = [];
  const stray = strayErrors(({ message }) => void lines.push(message));
  for (let count = 0; count < 3; count++) stray(new Error('no descriptors'));
  stray('odd');
  assert.deepEqual(lines, ['no descriptors', 'odd']);
});

test('where nothing can be told either, the process goes on', () => {
  const stray = strayErrors(() => {
    throw new Error('nobody reads it');
  });
  stray(new Error('first'));
});
