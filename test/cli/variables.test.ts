import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expandVariables } from '../../src/cli/variables.ts';

const refuse = (problem: string): never => {
  throw new Error(problem);
};
const expand = (text: string) => expandVariables(text, { HOST: 'app', EMPTY: '', TRICK: '${HOST}' }, refuse);

test('variables are put in, with a default where there is one', () => {
  assert.equal(expand('tcp:${HOST}:${PORT:-80}'), 'tcp:app:80');
  assert.equal(expand('${HOST:-other} ${EMPTY:-e} ${EMPTY}|${NONE:-}'), 'app e |');
});

test('a value is not looked through for variables, and a dollar can be written', () => {
  assert.equal(expand('${TRICK} $${HOST} $HOST $ 5$'), '${HOST} ${HOST} $HOST $ 5$');
});

test('a variable that is not set, and a form that there is not, are refused', () => {
  assert.throws(() => expand('${NONE}'), /^Error: the variable NONE is not set: set it, or write \$\{NONE:-default\}$/);
  for (const form of ['${}', '${A-B}', '${HOST', '${HOST:+x}', '${1}'])
    assert.throws(() => expand(form), /is no variable/, form);
});
