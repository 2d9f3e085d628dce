import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { compare } from '../../scripts/bench/compare.ts';
import { memory } from '../../scripts/bench/memory.ts';
import { nodePipe } from '../../scripts/bench/peers.ts';
import type { Peer, RunningPeer } from '../../scripts/bench/peers.ts';
import { start } from '../../scripts/bench/program.ts';
import type { Section } from '../../scripts/bench/section.ts';

const pipe = nodePipe(process.execPath);
const dying: Peer = {
  ...pipe,
  name: 'dying',
  start: async ({ dir }) => start('/bin/sh', ['-c', 'echo out of luck; exit 7'], { output: join(dir, 'output') }),
};
const absent: Peer = { ...pipe, name: 'absent', program: 'a-program-that-nobody-has' };

function stage(signal: AbortSignal) {
  const dir = mkdtempSync(join(tmpdir(), 'grace-bench-test-'));
  const notes: string[] = [];
  return {
    dir,
    notes,
    note: (text: string) => void notes.push(text),
    showProgress: () => {},
    tls: null,
    signal,
    seconds: 1,
    rounds: 2,
    warmsUpAll: true,
    [Symbol.dispose]: () => rmSync(dir, { recursive: true }),
  };
}

const section: Section = {
  name: 'memory',
  title: '',
  backend: 'echo',
  isTls: false,
  tools: [],
  peers: [],
  reference: '',
  isAlone: true,
  measure: (peer, { signal }) => memory(peer, { count: 20, signal }),
};
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test(
  'a peer that dies is named with its last words, one that is not installed too, and the others are measured',
  { timeout: 60_000 },
  async (t) => {
    using on = stage(t.signal);
    const rounds = await compare({ ...section, peers: [pipe, dying, absent], measure: async () => ({ x: 1 }) }, on);
    assert.deepEqual(rounds.get(pipe.name), [{ x: 1 }, { x: 1 }]);
    assert.deepEqual(rounds.get('dying'), [null, null]);
    assert.ok(!rounds.has('absent'));
    assert.match(on.notes[0]!, /absent is left out: a-program-that-nobody-has is not installed/);
    assert.match(on.notes[1]!, /memory: dying failed in round 1: .*ended with code 7, said "out of luck"/);
  },
);

test('memory of idle connections is measured, and nothing is left running', { timeout: 60_000 }, async (t) => {
  using on = stage(t.signal);
  const pids: number[] = [];
  const measure = async (peer: RunningPeer, { signal }: { signal: AbortSignal }) => {
    pids.push(peer.pid);
    return await memory(peer, { count: 20, signal });
  };
  const rounds = await compare({ ...section, peers: [pipe], measure }, { ...on, rounds: 1 });
  assert.ok(rounds.get(pipe.name)![0]!['at rest MB']! > 10);
  assert.deepEqual(on.notes, []);
  assert.equal(pids.some(isAlive), false);
});

test('a section whose tool is missing is left out', { timeout: 60_000 }, async (t) => {
  using on = stage(t.signal);
  assert.equal((await compare({ ...section, tools: ['a-program-that-nobody-has'] }, on)).size, 0);
  assert.deepEqual(on.notes, ['memory is left out: a-program-that-nobody-has is not installed']);
});
