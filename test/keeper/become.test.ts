import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { become, readRemembered, writeRemembered } from '../../src/keeper/become.ts';
import type { Remembered } from '../../src/keeper/become.ts';
import { keeperFormat } from '../../src/keeper/messages.ts';
import { closeFd, isCloseOnExec } from '../../src/sys/descriptor.ts';
import { openSocket } from '../../src/sys/socket.ts';

const timeout = 60_000;

function setUp(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'grace-become-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const remembered: Remembered = {
    format: keeperFormat,
    dir,
    args: [],
    isBackground: false,
    hasServed: true,
    kept: [],
    generations: [],
  };
  const attempt = (remember: () => Remembered) =>
    become({
      program: { file: join(dir, 'nothing'), args: [] },
      args: [],
      dir,
      env: {},
      remember,
      signals: ['SIGHUP'],
    });
  return { dir, remembered, attempt };
}

test('what comes while a keeper prepares to become another is in what it leaves to itself', { timeout }, async (t) => {
  const { remembered, attempt } = setUp(t);
  let isHeard = false;
  process.once('SIGHUP', () => (isHeard = true));
  process.kill(process.pid, 'SIGHUP');
  const before: boolean[] = [];
  const failed = assert.rejects(
    attempt(() => {
      before.push(isHeard);
      return remembered;
    }),
    /no such file/,
  );
  await failed;
  assert.deepEqual(before, [true]);
});

test('a keeper that cannot become another is as it was', { timeout }, async (t) => {
  const { dir, remembered, attempt } = setUp(t);
  const fd = openSocket('inet');
  await assert.rejects(
    attempt(() => ({ ...remembered, kept: [['rule', fd]] })),
    /no such file/,
  );
  assert.equal(isCloseOnExec(fd), true);
  closeFd(fd);
  await assert.rejects(
    attempt(() => {
      throw new Error('the daemon is to stop');
    }),
    /the daemon is to stop/,
  );
  assert.deepEqual(readdirSync(dir), []);
});

test(
  'what a keeper leaves to itself is written to no file that somebody else has put there',
  { timeout },
  async (t) => {
    const { dir, remembered, attempt } = setUp(t);
    const victim = join(dir, 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, join(dir, `keeper-${process.pid}`));
    await assert.rejects(
      attempt(() => remembered),
      /no such file/,
    );
    assert.equal(readFileSync(victim, 'utf8'), 'precious');
  },
);

test('what a keeper leaves to itself has the words of every version for the phases of daemons', () => {
  const words = [
    ['starting', 'starting'],
    ['serving', 'serving'],
    ['restarting', 'superseded'],
    ['replaced', 'retired'],
  ] as const;
  const ends = { stream: 3, datagrams: 4, pid: 1, ended: null };
  const remembered: Remembered = {
    format: keeperFormat,
    dir: '/d',
    args: [],
    isBackground: true,
    hasServed: true,
    kept: [['rule', 5]],
    generations: words.map(([phase]) => ({ ...ends, phase })),
  };
  const text = writeRemembered(remembered);
  assert.deepEqual(JSON.parse(text), { ...remembered, generations: words.map(([, phase]) => ({ ...ends, phase })) });
  assert.deepEqual(readRemembered(text), remembered);
});
