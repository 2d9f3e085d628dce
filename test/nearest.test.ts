import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../src/nearest.ts';

const names = ['start', 'switch', 'ls', 'wait', 'stop', 'restart', 'status'];

for (const [typed, expected] of [
  ['strat', 'start'],
  ['swich', 'switch'],
  ['lst', 'ls'],
  ['stat', 'start'],
  ['rest', 'restart'],
  ['Wait', 'wait'],
  ['frobnicate', undefined],
  ['q', undefined],
  ['', undefined],
] as const) {
  test(`${JSON.stringify(typed)} is taken for ${expected ?? 'nothing known'}`, () => {
    assert.equal(nearest(typed, names), expected);
  });
}
