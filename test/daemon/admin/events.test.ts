import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Events, kinds } from '../../../src/daemon/admin/events.ts';

const line = (msg: string, fields: object = {}) => JSON.stringify({ level: 30, pid: 7, msg, ...fields });

test('lines of the log that are events are kept with what they are about, the newest hundred', () => {
  const events = new Events();
  events.hear(line('rule switched', { src: 'tcp:1', dst: 'tcp:h:2' }));
  events.hear(line('connection broken', { src: 'tcp:1' }));
  events.hear(line('restart failed; going on as before', { error: 'x'.repeat(1000) }));
  const [first, second] = events.all;
  assert.deepEqual(
    { ...first, time: '' },
    { time: '', kind: 'switch', message: 'rule switched', pid: 7, src: 'tcp:1', dst: 'tcp:h:2' },
  );
  assert.equal(second?.kind, 'rollback');
  assert.equal(second?.detail?.length, 501);
  assert.equal(events.all.length, 2);
  for (let index = 0; index < 200; index++) events.hear(line('rule started', { src: String(index) }));
  assert.equal(events.all.length, 100);
  assert.equal(events.all.at(-1)?.src, '199');
});

test('a successor goes on with the events of its predecessor', () => {
  const [before, after] = [new Events(), new Events()];
  before.hear(line('serving', { generation: 1 }));
  after.hear(line('serving', { generation: 2 }));
  after.inherit(before.all);
  assert.deepEqual(
    after.all.map(({ kind }) => kind),
    ['start', 'restart'],
  );
});

test('the words of every kind are those of the log', () => {
  const src = join(import.meta.dirname, '../../../src');
  const text = readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('admin/events.ts'))
    .map((name) => readFileSync(join(src, name), 'utf8'))
    .join('\n');
  assert.deepEqual(
    Object.keys(kinds).filter((words) => !text.includes(`'${words}'`)),
    [],
  );
});
