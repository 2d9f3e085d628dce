import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseOptions } from '../../scripts/bench/options.ts';

const parse = (...args: string[]) => parseOptions(args, { sections: ['requests', 'bulk'] });
const here = fileURLToPath(import.meta.url);

test('builds that are compared have a name and a file each, and run the native engine unless told otherwise', () => {
  assert.deepEqual(parse('--binary', `old=${here}`, '--binary', `new=${here}`, 'requests').builds, [
    { name: 'old', path: here },
    { name: 'new', path: here },
  ]);
  assert.deepEqual(parse('--binary', `old=${here}`).engines, ['native']);
  assert.deepEqual(parse('--binary', `old=${here}`, '--engine', 'portable,native').engines, ['portable', 'native']);
  assert.deepEqual(parse().engines, ['native', 'portable']);
  assert.throws(() => parse('--binary', here), /--binary takes NAME=PATH/);
  assert.throws(() => parse('--binary', 'old=/nowhere/at/all'), /--binary takes NAME=PATH/);
});

test('numbers are whole and from 1, lists have commas', () => {
  assert.deepEqual(parse('--threads', '1,2,4').threads, [1, 2, 4]);
  assert.equal(parse('--runs', '3').runs, 3);
  assert.throws(() => parse('--rounds', '0'), /--rounds takes whole numbers from 1, not "0"/);
  assert.throws(() => parse('--seconds', '1.5'), /--seconds takes/);
  assert.throws(() => parse('--engine', 'auto'), /--engine takes native or portable/);
});

test('quick is one round with fewer connections, unless rounds are given', () => {
  assert.deepEqual([parse('--quick').rounds, parse('--quick').idleConnections], [1, 500]);
  assert.equal(parse('--quick', '--rounds', '3').rounds, 3);
});

test('an unknown section is an error that names the known ones', () => {
  assert.throws(() => parse('bulk', 'bukl'), /there is no section "bukl"; there are requests, bulk/);
});

test('the name of a group stands for its sections', () => {
  const groups = { both: ['requests', 'bulk'] };
  assert.deepEqual(parseOptions(['both'], { sections: ['requests', 'bulk'], groups }).sections, ['requests', 'bulk']);
});

test('the section of many connections and rules has sizes of its own, and one round unless rounds are given', () => {
  const { scale } = parse('--open', '1000', '--total', '1000000');
  assert.deepEqual(scale, { open: 1000, rules: 5000, cycles: 2000, total: 1_000_000, rounds: 1 });
  assert.equal(parse('--rounds', '3').scale.rounds, 3);
  assert.throws(() => parse('--rules', 'many'), /--rules takes whole numbers from 1, not "many"/);
});
