import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { clientKey, listenKey, serverKey } from '../../src/endpoint/identity.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { GraceError } from '../../src/error.ts';
import { Changes } from '../../src/forward/changes.ts';
import { Forwarder } from '../../src/forward/forwarder.ts';
import type { RuleSpec } from '../../src/forward/rule.ts';
import type { Listener } from '../../src/net/listener.ts';
import { FakeEngine } from './fake-engine.ts';

function rule(src: string, dst: string): RuleSpec {
  const from = parseServer(src);
  const to = parseClient(dst);
  return {
    src: { typed: src, absolute: src, key: serverKey(from), listenKey: listenKey(from), endpoint: from },
    dst: { typed: dst, absolute: dst, key: clientKey(to), endpoint: to },
  };
}

const a = 'tcp:127.0.0.1:7500';
const b = 'tcp:127.0.0.1:7600';

function setUp(
  overrides: {
    save?: (rules: readonly RuleSpec[]) => Promise<void>;
    open?: () => Promise<Listener>;
    describe?: () => void;
  } = {},
) {
  const engine = new FakeEngine();
  const changes = new Changes();
  const listeners = new Map<string, Listener>();
  const saved: string[][] = [];
  const forwarder = new Forwarder({
    engine,
    changes,
    async openListener(src) {
      const listener = overrides.open ? await overrides.open() : fakeListener();
      listeners.set(src.key, listener);
      return listener;
    },
    closeListener: (_, listener) => listener.close(),
    ...(overrides.describe && { describeListener: overrides.describe }),
    save:
      overrides.save ?? (async (rules) => void saved.push(rules.map(({ src, dst }) => `${src.typed} ${dst.typed}`))),
    observe: () => ({}),
  });
  const connect = (spec: RuleSpec) => engine.accept(listeners.get(spec.src.key)!);
  const table = () =>
    forwarder
      .views()
      .map(({ destination, isCurrent }) => [destination.spec.typed, destination.stats().connections, isCurrent]);
  return { engine, forwarder, connect, table, saved, listeners, changes };
}

function fakeListener(): Listener {
  let isOpen = true;
  return {
    fd: -1,
    name: 'fake',
    address: { family: 'inet', host: '127.0.0.1', port: 9000 },
    backlog: 50,
    inode: 1,
    get isOpen() {
      return isOpen;
    },
    dup: () => -1,
    close() {
      isOpen = false;
    },
  };
}

/** Resolves when what follows from what has happened has been done. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('a switch sends new connections elsewhere and leaves the open ones', async () => {
  const { forwarder, connect, table } = setUp();
  await forwarder.start(rule('tcp:9000', a));
  connect(rule('tcp:9000', a));
  assert.equal(await forwarder.switch(rule('tcp:9000', b).src, rule('tcp:9000', b).dst), true);
  connect(rule('tcp:9000', b));
  assert.deepEqual(table(), [
    [b, 1, true],
    [a, 1, false],
  ]);
});

test('an earlier destination is gone from the table when its last connection has ended', async () => {
  const { forwarder, connect, table } = setUp();
  const spec = rule('tcp:9000', a);
  await forwarder.start(spec);
  const upstream = connect(spec);
  await forwarder.switch(spec.src, rule('tcp:9000', b).dst);
  upstream.end();
  assert.deepEqual(table(), [[b, 0, true]]);
});

test('switching back to a destination that still drains makes it the current one again, with its connections', async () => {
  const { forwarder, connect, table, engine } = setUp();
  const spec = rule('tcp:9000', a);
  await forwarder.start(spec);
  connect(spec);
  await forwarder.switch(spec.src, rule('tcp:9000', b).dst);
  await forwarder.switch(spec.src, spec.dst);
  connect(spec);
  assert.deepEqual(table(), [[a, 2, true]]);
  assert.equal(engine.upstreams.length, 2);
});

test('the same rule again changes nothing, however it is written', async () => {
  const { forwarder, saved } = setUp();
  assert.equal(await forwarder.start(rule('tcp:9000', a)), true);
  assert.equal(await forwarder.start(rule('tcp:port=9000', 'tcp:host=127.0.0.1:port=7500')), false);
  assert.equal(saved.length, 1);
});

test('a source that is forwarded elsewhere is refused, with a word about switch', async () => {
  const { forwarder } = setUp();
  await forwarder.start(rule('tcp:9000', a));
  await assert.rejects(
    forwarder.start(rule('tcp:9000', b)),
    (error: GraceError) => /already forwarded/.test(error.message) && /grace switch/.test(error.hint ?? ''),
  );
});

test('a rule gets the name that it had none of, and another in place of one only when that is asked for', async () => {
  const { forwarder } = setUp();
  const named = (name: string): RuleSpec => {
    const { src, dst } = rule('tcp:9000', a);
    return { src: { ...src, name }, dst };
  };
  await forwarder.start(rule('tcp:9000', a));
  assert.equal(await forwarder.start(named('web')), true);
  await assert.rejects(forwarder.start(named('api')), {
    message: 'tcp:9000 has the name web already',
    hint: 'to give it the name api instead, add --switch',
  });
  assert.equal(forwarder.named('web').typed, 'tcp:9000');
  assert.equal(await forwarder.start(named('api'), { isUpsert: true }), true);
  assert.equal(forwarder.named('api').typed, 'tcp:9000');
});

test('a rule that cannot be stored does not start, and its listener is closed', async () => {
  const { forwarder, listeners } = setUp({ save: () => Promise.reject(new GraceError('disk full')) });
  const spec = rule('tcp:9000', a);
  await assert.rejects(forwarder.start(spec), /disk full/);
  assert.equal(listeners.get(spec.src.key)?.isOpen, false);
  assert.equal(forwarder.hasRules, false);
});

test('a switch that cannot be stored does not happen', async () => {
  let isFull = false;
  const { forwarder, table } = setUp({
    save: async () => {
      if (isFull) throw new GraceError('disk full');
    },
  });
  const spec = rule('tcp:9000', a);
  await forwarder.start(spec);
  isFull = true;
  await assert.rejects(forwarder.switch(spec.src, rule('tcp:9000', b).dst), /disk full/);
  assert.deepEqual(table(), [[a, 0, true]]);
});

test('two starts of one source at once open one listener', async () => {
  let opened = 0;
  const { forwarder } = setUp({
    open: () => {
      opened++;
      return new Promise((resolve) => setImmediate(() => resolve(fakeListener())));
    },
  });
  const outcomes = await Promise.all([forwarder.start(rule('tcp:9000', a)), forwarder.start(rule('tcp:9000', a))]);
  assert.deepEqual(outcomes, [true, false]);
  assert.equal(opened, 1);
});

test('changes of different rules at once are all stored', async () => {
  const saved: string[][] = [];
  const { forwarder } = setUp({
    save: async (rules) => {
      await new Promise((resolve) => setImmediate(resolve));
      saved.push(rules.map(({ src }) => src.typed));
    },
  });
  const sources = ['tcp:9000', 'tcp:9001', 'tcp:9002'];
  await Promise.all(sources.map((source) => forwarder.start(rule(source, a))));
  assert.deepEqual(saved.at(-1)?.sort(), sources);
  assert.ok(saved.length < sources.length, 'those that came while one was written are written together');
  await Promise.all([
    forwarder.stop(rule('tcp:9000', a).src),
    forwarder.switch(rule('tcp:9001', b).src, rule('tcp:9001', b).dst),
  ]);
  assert.deepEqual(saved.at(-1)?.sort(), ['tcp:9001', 'tcp:9002']);
});

test('the connections of a stopped rule go on and stay in the table until they end', async () => {
  const { forwarder, connect, table } = setUp();
  const spec = rule('tcp:9000', a);
  await forwarder.start(spec);
  const upstream = connect(spec);
  await forwarder.stop(spec.src);
  assert.throws(() => connect(spec), /nobody accepts/);
  assert.deepEqual(table(), [[a, 1, false]]);
  upstream.end();
  assert.deepEqual(table(), []);
});

test('whoever waits for changes hears when the last connection of an earlier destination ends', async () => {
  const { forwarder, connect, changes } = setUp();
  const spec = rule('tcp:9000', a);
  await forwarder.start(spec);
  const upstream = connect(spec);
  await forwarder.switch(spec.src, rule('tcp:9000', b).dst);
  const change = changes.next();
  upstream.end();
  await change;
});

test('a rule that cannot be served stays stored, and can be stopped', async () => {
  const { forwarder, saved } = setUp({ open: () => Promise.reject(new GraceError('address already in use')) });
  const spec = rule('tcp:9000', a);
  assert.match(String(await forwarder.restoration.restore(spec)), /already in use/);
  assert.deepEqual(forwarder.specs, [spec]);
  await forwarder.stop(spec.src);
  assert.deepEqual(saved.at(-1), []);
  assert.equal(forwarder.hasRules, false);
});

test('changes wait while rules stand still, and fail with the reason when they are handed over', async () => {
  const { forwarder, table, connect } = setUp();
  const spec = rule('tcp:9000', a);
  await forwarder.start(spec);
  connect(spec);
  const standstill = await forwarder.standStill();
  const started = assert.rejects(forwarder.start(rule('tcp:9001', a)), /replaced/);
  await standstill.pause();
  standstill.handOver(new GraceError('replaced'));
  await started;
  assert.deepEqual(table(), [[a, 1, false]]);
});

test('a forwarder whose successor failed accepts again, and changes that waited happen', async () => {
  const { forwarder, connect } = setUp();
  const spec = rule('tcp:9000', a);
  await forwarder.start(spec);
  const standstill = await forwarder.standStill();
  const started = forwarder.start(rule('tcp:9001', a));
  await standstill.pause();
  assert.throws(() => connect(spec), /nobody accepts/);
  standstill.resume();
  assert.equal(await started, true);
  connect(spec);
});

test('a rule whose listener is being opened when everything stops is not served, and not stored', async () => {
  const opening = Promise.withResolvers<Listener>();
  const asked = Promise.withResolvers<void>();
  const { forwarder, saved, engine } = setUp({ open: () => (asked.resolve(), opening.promise) });
  const listener = fakeListener();
  const started = assert.rejects(forwarder.start(rule('tcp:9000', a)), /the daemon is stopping/);
  await asked.promise;
  await forwarder.stopAll(new GraceError('the daemon is stopping'));
  opening.resolve(listener);
  await started;
  assert.throws(() => engine.accept(listener), /nobody accepts/);
  assert.equal(listener.isOpen, false);
  assert.deepEqual(saved, []);
});

test('a rule that is being written down when everything stops does not start, and is stored no longer', async () => {
  const written = Promise.withResolvers<void>();
  const writing = Promise.withResolvers<void>();
  const stored: number[] = [];
  const save = (rules: readonly RuleSpec[]) => {
    stored.push(rules.length);
    writing.resolve();
    return written.promise;
  };
  const { forwarder, listeners, connect, table } = setUp({ save });
  const spec = rule('tcp:9000', a);
  const started = assert.rejects(forwarder.start(spec), /the daemon is stopping/);
  await writing.promise;
  const stopped = forwarder.stopAll(new GraceError('the daemon is stopping'));
  written.resolve();
  await started;
  assert.equal((await stopped).length, 0);
  assert.throws(() => connect(spec), /nobody accepts/);
  assert.equal(listeners.get(spec.src.key)?.isOpen, false);
  assert.deepEqual(stored, [1, 0]);
  assert.deepEqual(table(), []);
});

test('after everything was stopped nothing can be started, switched or stopped', async () => {
  const { forwarder } = setUp();
  const spec = rule('tcp:9000', a);
  await forwarder.start(spec);
  await forwarder.stopAll(new GraceError('the daemon is stopping'));
  await assert.rejects(forwarder.start(rule('tcp:9001', a)), /the daemon is stopping/);
  await assert.rejects(forwarder.switch(spec.src, rule('tcp:9000', b).dst), /the daemon is stopping/);
  await assert.rejects(forwarder.stop(spec.src), /the daemon is stopping/);
});

test('no client of a rule is accepted before the rule is stored', async () => {
  const written = Promise.withResolvers<void>();
  const writing = Promise.withResolvers<void>();
  const { forwarder, connect } = setUp({ save: () => (writing.resolve(), written.promise) });
  const started = assert.rejects(forwarder.start(rule('tcp:9000', a)), /disk full/);
  await writing.promise;
  assert.throws(() => connect(rule('tcp:9000', a)), /nobody accepts/);
  written.reject(new GraceError('disk full'));
  await started;
  assert.throws(() => connect(rule('tcp:9000', a)), /nobody accepts/);
});

test('what is stored is as it was when a rule that was stored cannot be served after all', async () => {
  const { forwarder, engine, saved, listeners } = setUp();
  await forwarder.start(rule('tcp:9000', a));
  engine.openFrontend = () => {
    throw new GraceError('no key');
  };
  await assert.rejects(forwarder.start(rule('tcp:9001', a)), /no key/);
  assert.deepEqual(saved.at(-1), [`tcp:9000 ${a}`]);
  assert.deepEqual(
    [...listeners.values()].map(({ isOpen }) => isOpen),
    [true, false],
  );
});

test('rules that cannot stand still in time go on changing', async () => {
  const opening = Promise.withResolvers<Listener>();
  const { forwarder } = setUp({ open: () => opening.promise });
  const first = forwarder.start(rule('tcp:9000', a));
  const late = new AbortController();
  const standstill = assert.rejects(forwarder.standStill({ signal: late.signal }), /time is up/);
  const second = forwarder.start(rule('tcp:9001', a));
  late.abort(new GraceError('time is up'));
  await standstill;
  opening.resolve(fakeListener());
  assert.deepEqual(await Promise.all([first, second]), [true, true]);
});

test('who names a source that is not forwarded is told of those that are, or of the nearest', async () => {
  const { forwarder } = setUp();
  const hint = async (typed: string) => {
    const error: unknown = await forwarder.stop(rule(typed, a).src).then(
      () => null,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof GraceError);
    assert.equal(error.message, `${typed} is not forwarded`);
    return error.hint;
  };
  assert.equal(await hint('tcp:9000'), 'nothing is; forward it with: grace start tcp:9000 DST');
  await forwarder.start(rule('tcp:9000', a));
  assert.equal(await hint('tcp:9001'), 'did you mean tcp:9000?');
  assert.equal(await hint('unix:/run/a'), 'forwarded: tcp:9000');
  for (const port of [1111, 2222, 3333, 4444, 5555]) await forwarder.start(rule(`tcp:${port}`, a));
  assert.equal(await hint('unix:/run/a'), 'see: grace ls');
  assert.equal(await hint('tcp:5554'), 'did you mean tcp:5555?');
});

test('a destination is forgotten with its last connection, and not while a rule leads there', async () => {
  const { forwarder, connect, engine } = setUp();
  await forwarder.start(rule('tcp:9000', a));
  const first = connect(rule('tcp:9000', a));
  await forwarder.switch(rule('tcp:9000', b).src, rule('tcp:9000', b).dst);
  await forwarder.switch(rule('tcp:9000', a).src, rule('tcp:9000', a).dst);
  first.end();
  await settled();
  const [upstreamA, upstreamB] = engine.upstreams;
  assert.deepEqual([upstreamA?.isForgotten, upstreamB?.isForgotten], [false, true]);
  await forwarder.stop(rule('tcp:9000', a).src);
  await settled();
  assert.equal(upstreamA?.isForgotten, true);
});

test('a destination that drains while a switch back to it is being stored is not brought back', async () => {
  const { promise: mayStore, resolve: store } = Promise.withResolvers<void>();
  let saves = 0;
  const { forwarder, connect, engine } = setUp({ save: () => (++saves < 3 ? Promise.resolve() : mayStore) });
  await forwarder.start(rule('tcp:9000', a));
  const first = connect(rule('tcp:9000', a));
  await forwarder.switch(rule('tcp:9000', b).src, rule('tcp:9000', b).dst);
  const switched = forwarder.switch(rule('tcp:9000', a).src, rule('tcp:9000', a).dst);
  await settled();
  first.end();
  await settled();
  store();
  await switched;
  assert.equal(engine.upstreams[0]?.isForgotten, true);
  assert.equal(connect(rule('tcp:9000', a)).isForgotten, false);
});

for (const fails of ['the socket refuses it', 'it cannot be stored']) {
  test(`a rule whose parameters cannot change goes on accepting as before: ${fails}`, async () => {
    let isBroken = false;
    const breakWhen = (what: string) => {
      if (isBroken && fails === what) throw new GraceError('not so');
    };
    const { forwarder, engine, listeners } = setUp({
      describe: () => breakWhen('the socket refuses it'),
      save: async () => breakWhen('it cannot be stored'),
    });
    const before = rule('tcp:9000', a);
    await forwarder.start(before);
    isBroken = true;
    await assert.rejects(forwarder.start(rule('tcp:9000:backlog=9', a), { isUpsert: true }), /not so/);
    assert.equal(engine.accept(listeners.get(before.src.key)!).connections, 1);
    assert.deepEqual(
      forwarder.specs.map(({ src }) => src.typed),
      ['tcp:9000'],
    );
  });
}
