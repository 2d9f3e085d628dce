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
  for (let number = 0; number < 8; number++) speaker.say({ number }, number % 2 === 0 ? [0] : []);
  speaker.close();
  await ended;
  assert.deepEqual(
    heard,
    Array.from({ length: 8 }, (_, number) => ({ message: { number }, inodes: number % 2 === 0 ? [inodeOf(0)] : [] })),
  );
});

test('the last words are heard before the end', { timeout }, async () => {
  const { speaker, heard, ended } = pair();
  speaker.say('goodbye');
  speaker.close();
  speaker.say('too late');
  await ended;
  assert.deepEqual(heard.map(({ message }) => message), ['goodbye']);
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
  speaker.sayAll(all, (some) => some);
  await promise;
  assert.deepEqual(names, all.map(([name]) => name));
  speaker.close();
  hearer.close();
});

test('what was said before anybody listened is heard', { timeout }, async () => {
  const [a, b] = openChannel();
  const speaker = new Channel<string, never>(a, { onMessage() {}, onEnd() {} });
  speaker.say('early');
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
