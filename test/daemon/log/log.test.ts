import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  symlinkSync,
  unlinkSync,
  openSync,
  closeSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
} from 'node:fs';
import { test } from 'node:test';
import { openLog } from '../../../src/daemon/log/log.ts';
import type { LogFormat } from '../../../src/daemon/log/log.ts';
import { makeTempDir } from '../../net/temp-dir.ts';

/** A log in a directory of its own, with a file in the place of standard error. */
function setUp({ format = 'text' as LogFormat, name = 'grace.log' } = {}) {
  const temp = makeTempDir();
  const spare = openSync(temp.file('stderr'), 'a');
  const open = () =>
    openLog({ output: { kind: 'file', path: temp.file(name), spare }, format, generation: 3, env: {} });
  const read = (file: string) => readFileSync(temp.file(file), 'utf8');
  return {
    temp,
    open,
    read,
    [Symbol.dispose]() {
      closeSync(spare);
      temp[Symbol.dispose]();
    },
  };
}

test('an event is a line with its fields and the pid, in a file for the owner alone', () => {
  using parts = setUp();
  parts.open().log.info({ src: 'tcp:9000' }, 'rule started');
  assert.match(
    parts.read('grace.log'),
    new RegExp(`^\\[[-0-9]+ [^\\]]*\\] INFO \\(${process.pid}\\): rule started.*"src":"tcp:9000".*\\n$`),
  );
  assert.equal(statSync(parts.temp.file('grace.log')).mode & 0o777, 0o600);
});

test('as JSON it has time, level, pid and generation', () => {
  using parts = setUp({ format: 'json' });
  parts.open().log.warn({ src: 'tcp:9000' }, 'rule not started');
  const { time, ...line } = JSON.parse(parts.read('grace.log'));
  assert.deepEqual(line, { level: 'warn', pid: process.pid, generation: 3, src: 'tcp:9000', msg: 'rule not started' });
  assert.equal(new Date(time).toISOString(), time);
});

for (const format of ['text', 'json'] as const) {
  test(`what strangers send stays one line and tells no terminal what to do (${format})`, () => {
    using parts = setUp({ format });
    const name = 'a\nb\u001B[2Jc\u009B\u007f\u202e\u2028';
    parts.open().log.info({ name }, 'told\r\nof');
    const line = parts.read('grace.log');
    assert.match(line, /^[^\p{Cc}\p{Bidi_Control}\u2028\u2029]+\n$/u);
    if (format === 'json') assert.equal(JSON.parse(line).name, name);
  });
}

test('a log that was renamed is opened by its path again', () => {
  using parts = setUp();
  const { log, reopen } = parts.open();
  log.info('before');
  renameSync(parts.temp.file('grace.log'), parts.temp.file('grace.log.1'));
  log.info('meanwhile');
  reopen();
  log.info('after');
  assert.deepEqual(parts.read('grace.log.1').match(/before|meanwhile|after/g), ['before', 'meanwhile']);
  assert.deepEqual(parts.read('grace.log').match(/before|meanwhile|after/g), ['after']);
});

test('a log that cannot be opened goes to standard error, until it can', () => {
  using parts = setUp();
  mkdirSync(parts.temp.file('grace.log'));
  const opened = parts.open();
  opened.log.info('one');
  assert.match(opened.problem ?? '', /grace\.log: .*directory/);
  assert.match(parts.read('stderr'), /one\n$/);
  rmdirSync(parts.temp.file('grace.log'));
  opened.reopen();
  opened.log.info('two');
  assert.equal(opened.problem, null);
  assert.deepEqual([/two/.test(parts.read('stderr')), /two/.test(parts.read('grace.log'))], [false, true]);
});

test('a log that cannot be opened again goes on where it was', () => {
  using parts = setUp();
  const opened = parts.open();
  renameSync(parts.temp.file('grace.log'), parts.temp.file('grace.log.1'));
  mkdirSync(parts.temp.file('grace.log'));
  opened.reopen();
  opened.log.info('all the same');
  assert.match(opened.problem ?? '', /grace\.log/);
  assert.match(parts.read('grace.log.1'), /all the same/);
});

test(
  'what a file does not take is counted, and told of',
  { skip: !existsSync('/dev/full') && 'no /dev/full here' },
  () => {
    using parts = setUp();
    symlinkSync('/dev/full', parts.temp.file('grace.log'));
    const opened = parts.open();
    opened.log.info('one');
    assert.match(opened.loss ?? '', /grace\.log: .*ENOSPC.*; 1 line is lost/);
    opened.log.info('two');
    assert.match(opened.loss ?? '', /; 2 lines are lost/);
    assert.equal(opened.problem, null);
    unlinkSync(parts.temp.file('grace.log'));
    opened.reopen();
    opened.log.info('three');
    assert.equal(opened.loss, null);
    assert.match(parts.read('grace.log'), /three\n.*lines of the log were lost.*\{"lines":2\}\n$/);
  },
);
