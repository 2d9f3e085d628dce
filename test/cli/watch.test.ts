import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rates } from '../../src/cli/watch.ts';
import { destinationRow } from './destination-row.ts';
import { openFakeDaemon } from './fake-daemon.ts';
import type { FakeDaemon } from './fake-daemon.ts';
import { Sink, runWords } from './run-cli.ts';

const timeout = 60_000;

/** Counts 2000 bytes and two clients more with each look. */
function openBusyDaemon(): Promise<FakeDaemon> {
  let looks = 0;
  return openFakeDaemon(() => {
    const bytesIn = 2000 * looks++;
    const row = destinationRow({ src: 'tcp:9000', dst: 'tcp:h:2', connections: looks, active: true, bytesIn });
    return [{ result: { rows: [row], accepted: [{ src: 'tcp:9000', dst: 'tcp:h:2', count: 2 * looks }] } }];
  });
}

async function watchFor(
  looks: number,
  words: string[],
  options: { isTTY?: boolean; columns?: number; rows?: number } = {},
): Promise<string> {
  await using daemon = await openBusyDaemon();
  const aborter = new AbortController();
  const stdout = new Sink(() => daemon.requests.length >= looks && aborter.abort());
  Object.assign(stdout, { columns: 80, rows: 24, ...options });
  const { exitCode } = await runWords(['-d', daemon.dir, 'ls', '--watch', ...words], {
    stdout,
    signal: aborter.signal,
    isTTY: options.isTTY ?? false,
  });
  assert.equal(exitCode, 130);
  return stdout.text;
}

test('a terminal is drawn over, with what was moved and accepted in a second', { timeout }, async () => {
  const text = await watchFor(2, [], { isTTY: true });
  const [cleared, first = '', second = ''] = text.split('\u001b[H');
  assert.equal(cleared, '\u001b[2J');
  for (const screen of [first, second]) {
    assert.match(screen, /^[0-9:]{8} {2}[12] connection/);
    assert.ok(screen.endsWith('\u001b[K\n\u001b[J'));
    assert.ok(
      screen
        .split('\n')
        .slice(0, -1)
        .every((line) => line.endsWith('\u001b[K')),
    );
  }
  assert.match(first, /tcp:9000 {2}tcp:h:2 +1 {2}\S*active/);
  const [, clients, size] = /active\S* +([0-9.]+) +([0-9.]+ k?B) +0 B/.exec(second) ?? [];
  assert.ok(Number(clients) > 0.5 && Number(clients) <= 2, second);
  assert.match(size ?? '', /kB/);
});

test('no line is wider than the terminal, and no screen higher', { timeout }, async () => {
  const text = await watchFor(1, [], { isTTY: true, columns: 30, rows: 3 });
  // eslint-disable-next-line no-control-regex
  const lines = text.replace(/\u001b\[[0-9]*[HJKm]/g, '').split('\n');
  assert.ok(lines.length <= 3, text);
  assert.ok(
    lines.every((line) => line.length <= 30),
    text,
  );
  assert.match(text, /more lines/);
});

test('elsewhere it is a plain table each time, or a line of JSON', { timeout }, async () => {
  const text = await watchFor(2, []);
  // eslint-disable-next-line no-control-regex
  assert.doesNotMatch(text, /\u001b/);
  assert.equal(text.match(/^src +dst +connections +status +new\/s +in\/s +out\/s$/gm)?.length, 2);
  const lines = (await watchFor(2, ['--json']))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(lines.length, 2);
  assert.equal(lines[0][0].bytesInPerSecond, null);
  assert.ok(lines[1][0].bytesInPerSecond > 500 && lines[1][0].connectionsPerSecond > 0.5, JSON.stringify(lines));
});

test('a rate is of what is counted on: after a count from the beginning there is none', () => {
  const rates = new Rates();
  rates.begin();
  assert.deepEqual(rates.of('a', [5]), [null]);
  rates.begin();
  assert.deepEqual(rates.of('a', [5]), [0]);
  rates.begin();
  assert.deepEqual(rates.of('a', [3]), [null]);
  rates.begin();
  rates.begin();
  assert.deepEqual(rates.of('a', [3]), [null]);
});
