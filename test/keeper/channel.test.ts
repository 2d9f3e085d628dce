import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Channel, openChannel } from '../../src/keeper/channel.ts';
import { closeFd, inodeOf } from '../../src/sys/descriptor.ts';

const timeout = 60_000;

type Heard = { message: unknown; inodes: number[] };

/** Both ends in this process; `heard` and `ended` are those of the second. */
function pair() {
  const [a, b] = openChannel();
  const heard: Heard[] = [];
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const speaker = new Channel<unknown, unknown>(a, { onMessage() {}, onEnd() {} });
  const hearer = new Channel<unknown, unknown>(b, {
    onMessage(message, fds) {
      heard.push({ message, inodes: fds.map(inodeOf) });
      fds.forEach(closeFd);
    },
    onEnd: resolve,
  });
  hearer.ref();
  return { speaker, hearer, heard, ended };
}

test('messages come whole and in order, each with its own descriptors', { timeout }, async () => {
  const { speaker, heard, ended } = pair();
  for (let number = 0; number < 8; number++) speaker.send({ number }, number % 2 === 0 ? [0] : []);
  speaker.close();
  await ended;
  assert.deepEqual(
    heard,
    Array.from({ length: 8 }, (_, number) => ({ message: { number }, inodes: number % 2 === 0 ? [inodeOf(0)] : [] })),
  );
});

test('the last words are heard before the end', { timeout }, async () => {
  const { speaker, heard, ended } = pair();
  speaker.send('goodbye');
  speaker.close();
  speaker.send('too late');
  await ended;
  assert.deepEqual(
    heard.map(({ message }) => message),
    ['goodbye'],
  );
});

test('any number of named descriptors is split into messages that fit', { timeout }, async () => {
  const [a, b] = openChannel();
  const names: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const hearer = new Channel<never, string[]>(b, {
    onMessage(some, fds) {
      assert.equal(some.length, fds.length);
      fds.forEach(closeFd);
      names.push(...some);
      if (names.length === 300) resolve();
    },
    onEnd() {},
  });
  hearer.ref();
  const speaker = new Channel<string[], never>(a, { onMessage() {}, onEnd() {} });
  const all = Array.from({ length: 300 }, (_, index) => [`rule-${index}`, 1] as const);
  speaker.sendAll(all, (some) => some);
  await promise;
  assert.deepEqual(
    names,
    all.map(([name]) => name),
  );
  speaker.close();
  hearer.close();
});

test('what was said before anybody listened is heard', { timeout }, async () => {
  const [a, b] = openChannel();
  const speaker = new Channel<string, never>(a, { onMessage() {}, onEnd() {} });
  speaker.send('early');
  const heard = await new Promise((resolve) => {
    const hearer: Channel<never, string> = new Channel(b, {
      onMessage(message) {
        resolve(message);
        hearer.close();
      },
      onEnd() {},
    });
    hearer.ref();
  });
  assert.equal(heard, 'early');
  speaker.close();
});

/** A speaker whose other end does not read until `hear` is called. */
function stoppedPair() {
  const [a, b] = openChannel();
  const speaker = new Channel<number | string, never>(a, { onMessage() {}, onEnd() {} });
  const hear = async (last: number | string) => {
    const heard: (number | string)[] = [];
    const inodes: number[] = [];
    await new Promise<void>((resolve) => {
      const hearer: Channel<never, number | string> = new Channel(b, {
        onMessage(message, fds) {
          heard.push(message);
          inodes.push(...fds.map(inodeOf));
          fds.forEach(closeFd);
          if (message !== last) return;
          hearer.close();
          resolve();
        },
        onEnd: resolve,
      });
      hearer.ref();
    });
    return { heard, inodes };
  };
  return { speaker, hear };
}

test(
  'to an end that does not read, nothing blocks and nothing is lost, descriptors included',
  { timeout },
  async (t) => {
    const { speaker, hear } = stoppedPair();
    const most = 2000;
    const began = performance.now();
    for (let number = 0; number < most; number++) speaker.send(number, number % 500 === 0 ? [0] : []);
    assert.ok(speaker.isBehind);
    t.diagnostic(`${most} messages in ${Math.round(performance.now() - began)} ms`);
    assert.ok(performance.now() - began < 1000);
    const { heard, inodes } = await hear(most - 1);
    assert.deepEqual(
      heard,
      Array.from({ length: most }, (_, number) => number),
    );
    assert.deepEqual(
      inodes,
      Array.from({ length: 4 }, () => inodeOf(0)),
    );
    assert.equal(speaker.isBehind, false);
    speaker.close();
  },
);

test('what is said of a moment is what is so when the other end reads again', { timeout }, async () => {
  const { speaker, hear } = stoppedPair();
  while (!speaker.isBehind) speaker.send('filling');
  let state = 'early';
  speaker.sendCurrent(() => ({ message: state, fds: [] }));
  speaker.sendCurrent(() => null);
  speaker.send('end');
  state = 'late';
  const { heard } = await hear('end');
  assert.deepEqual(
    heard.filter((message) => message !== 'filling'),
    ['late', 'end'],
  );
  speaker.close();
});

test('the last thing is heard by an end that begins to read when the speaker is gone', { timeout }, async () => {
  const { speaker, hear } = stoppedPair();
  while (!speaker.isBehind) speaker.send('filling');
  speaker.sendLast('the end');
  speaker.close();
  const { heard } = await hear('the end');
  assert.equal(heard.at(-1), 'the end');
});

test('last words are heard although the end that hears them answers what came before', { timeout }, async () => {
  const [a, b] = openChannel();
  const speaker = new Channel<string, string>(a, { onMessage() {}, onEnd() {} });
  speaker.send('question');
  speaker.send('the end');
  speaker.close();
  const heard: string[] = [];
  await new Promise<void>((resolve) => {
    const hearer: Channel<string, string> = new Channel(b, {
      onMessage(message) {
        heard.push(message);
        hearer.send('answer');
      },
      onEnd: resolve,
    });
    hearer.ref();
  });
  assert.deepEqual(heard, ['question', 'the end']);
});

test(
  "a message whose handling fails keeps neither the next one nor the end from being told, and its error is nobody else's",
  { timeout },
  async () => {
    const [a, b] = openChannel();
    const heard: unknown[] = [];
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const errors: string[] = [];
    const listener = (error: Error) => void errors.push(error.message);
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException').on('uncaughtException', listener);
    try {
      const hearer = new Channel<never, unknown>(b, {
        onMessage(message) {
          heard.push(message);
          if (message !== 'last') throw new Error(`no ${String(message)}`);
        },
        onEnd: resolve,
      });
      hearer.ref();
      const speaker = new Channel<unknown, never>(a, { onMessage() {}, onEnd() {} });
      for (const message of ['first', 'second', 'last']) speaker.send(message);
      speaker.close();
      await ended;
      await new Promise((done) => setImmediate(done));
    } finally {
      process.removeListener('uncaughtException', listener);
      for (const other of others) process.on('uncaughtException', other);
    }
    assert.deepEqual(heard, ['first', 'second', 'last']);
    assert.deepEqual(errors, ['no first', 'no second']);
  },
);
