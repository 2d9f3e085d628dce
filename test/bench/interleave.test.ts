import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interleave, orderOfRound } from '../../scripts/bench/interleave.ts';

const peers = [{ name: 'a' }, { name: 'b' }, { name: 'c' }];
const { signal } = new AbortController();

test('each round starts with another peer, and each second one goes backwards', () => {
  const order = (round: number) => orderOfRound(['a', 'b', 'c'], round).join('');
  assert.deepEqual([0, 1, 2, 3].map(order), ['abc', 'acb', 'cab', 'cba']);
  assert.deepEqual(orderOfRound([], 1), []);
});

test('a peer that fails in one round is named and leaves the rounds aligned', async () => {
  const failures: string[] = [];
  const rounds = await interleave({
    peers,
    rounds: 3,
    signal,
    async measure({ name }, round) {
      if (name === 'b' && round === 1) throw new Error('gone');
      return { x: round };
    },
    onFailure: ({ peer, round, error, isLast }) =>
      void failures.push(`${peer.name} ${round} ${error.message} ${isLast}`),
  });
  assert.deepEqual(failures, ['b 1 gone false']);
  assert.deepEqual(rounds.get('a'), [{ x: 0 }, { x: 1 }, { x: 2 }]);
  assert.deepEqual(rounds.get('b'), [{ x: 0 }, null, { x: 2 }]);
});

test('a peer that fails twice is not tried again', async () => {
  let tries = 0;
  const last: boolean[] = [];
  await interleave({
    peers: [{ name: 'a' }],
    rounds: 9,
    signal,
    async measure() {
      tries++;
      throw new Error('no');
    },
    onFailure: ({ isLast }) => void last.push(isLast),
  });
  assert.deepEqual([tries, last], [2, [false, true]]);
});

test('an interruption ends it, and is no failure of the peer', async () => {
  const interruption = new AbortController();
  const running = interleave({
    peers,
    rounds: 3,
    signal: interruption.signal,
    async measure() {
      interruption.abort(new Error('interrupted'));
      throw new Error('killed');
    },
    onFailure: () => assert.fail('it is none'),
  });
  await assert.rejects(running, /interrupted/);
});
