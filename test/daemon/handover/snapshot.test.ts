/** What a predecessor tells its successor of itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseHandover } from '../../../src/daemon/handover/messages.ts';
import { takeSnapshot } from '../../../src/daemon/handover/snapshot.ts';
import { readRule } from '../../../src/daemon/rules/specs.ts';
import type { Service } from '../../../src/daemon/service.ts';
import { GraceError } from '../../../src/error.ts';
import { Changes } from '../../../src/forward/changes.ts';
import { Forwarder } from '../../../src/forward/forwarder.ts';
import type { Listener } from '../../../src/net/listener.ts';
import { FakeEngine } from '../../forward/fake-engine.ts';

const text = (endpoint: string, name?: string) => ({
  typed: endpoint,
  absolute: endpoint,
  ...(name === undefined ? {} : { name }),
});
const ruleOf = (src: string, dst: string, name?: string) => readRule({ src: text(src, name), dst: text(dst) });
const since = '2026-01-02T03:04:05.678Z';
const listenerOf = (name: string) =>
  ({
    fd: -1,
    name,
    inode: name.length,
    address: { family: 'inet', host: '127.0.0.1', port: 9000 },
    isOpen: true,
  }) as Listener;

const [first, second, passed, unused] = ['first', 'second', 'passed', 'unused'].map(listenerOf) as [
  Listener,
  Listener,
  Listener,
  Listener,
];

/** A daemon that serves these rules; `passed` and `unused` are sockets that it was started with. */
function serviceWith(rules: [src: string, dst: string, listener: Listener][], more: object = {}) {
  const engine = new FakeEngine();
  const refuse = () => Promise.reject(new Error('nothing is opened or written'));
  const forwarder = new Forwarder({
    engine,
    changes: new Changes(),
    openListener: refuse,
    closeListener: () => {},
    save: refuse,
    observe: () => ({}),
  });
  for (const [src, dst, listener] of rules)
    forwarder.adoption.adoptRule(ruleOf(src, dst, 'web'), listener, { bytesIn: 10, bytesOut: 20, since });
  const given = [
    { listener: unused, fd: 3, index: 0, name: 'unused' },
    { listener: passed, fd: 4, index: 1, name: 'passed' },
  ];
  const parts = {
    forwarder,
    engine,
    listeners: { inherited: given },
    holds: { handOver: () => null },
    tickets: { snapshot: null },
    supervisor: { keeper: null, lostKeeper: null },
    unread: [],
    lock: { fd: 0 },
    version: '1.2.3',
    startedAt: since,
    uptimeMs: () => 60_000,
    generation: 2,
    ...more,
  };
  return { service: parts as unknown as Service, forwarder, engine };
}

test('each rule goes with its listener, sockets that were passed first, each of them once', () => {
  const { service } = serviceWith([
    ['tcp:9000', 'tcp:127.0.0.1:1', first],
    ['systemd:domain=INET:name=passed', 'tcp:127.0.0.1:2', passed],
    ['tcp:9001', 'tcp:127.0.0.1:3', second],
  ]);
  const { handover, listeners } = takeSnapshot(service);
  assert.deepEqual(listeners, [unused, passed, first, second]);
  assert.deepEqual(
    handover.rules.map(({ src, listener }) => [src.typed, listener]),
    [
      ['tcp:9000', 2],
      ['systemd:domain=INET:name=passed', 1],
      ['tcp:9001', 3],
    ],
  );
  assert.deepEqual(handover.sockets, [
    { listener: 0, fd: 3, index: 0, name: 'unused' },
    { listener: 1, fd: 4, index: 1, name: 'passed' },
  ]);
});

test('counters are those of the moment, and known as what the successor was told', () => {
  const { service, forwarder, engine } = serviceWith([['tcp:9000', 'tcp:127.0.0.1:1', first]]);
  engine.accept(first);
  const { handover, told } = takeSnapshot(service);
  const [rule] = handover.rules;
  assert.deepEqual([rule?.src.name, rule?.bytesIn, rule?.bytesOut, rule?.since], ['web', 20, 20, since]);
  assert.deepEqual(told, [{ destination: forwarder.rules[0]?.current, bytesIn: 20, bytesOut: 20 }]);
});

test('a rule that cannot be served, and one of another version, go along', () => {
  const unread = [{ src: text('quic:1'), dst: text('quic:2') }];
  const { service, forwarder } = serviceWith([], { unread });
  forwarder.restoration.addBroken(ruleOf('tcp:9000', 'tcp:127.0.0.1:1'), new GraceError('in use'));
  const { handover } = takeSnapshot(service);
  assert.deepEqual(
    handover.rules.map(({ src, listener }) => [src.typed, listener]),
    [['tcp:9000', null]],
  );
  assert.deepEqual(handover.unread, unread);
});

test('who it is, since when, and whether it can move connections is in it', () => {
  const { handover } = takeSnapshot(serviceWith([]).service);
  const { format, version, pid, startedAt, uptimeMs, generation } = handover;
  assert.deepEqual(
    [format, version, pid, startedAt, uptimeMs, generation],
    [1, '1.2.3', process.pid, since, 60_000, 2],
  );
  assert.deepEqual(['move' in handover, 'unread' in handover], [false, false]);
  const { handover: moving } = takeSnapshot(serviceWith([], { engine: { mover: {} } }).service);
  assert.equal(typeof moving.move, 'number');
});

test('the keeper is in it, also one that has lost touch; without one there is nothing of it', () => {
  const keeperWith = (supervisor: object) => takeSnapshot(serviceWith([], { supervisor }).service).handover.keeper;
  assert.equal(keeperWith({ keeper: { pid: 7, version: '1' }, lostKeeper: null }), 7);
  assert.equal(keeperWith({ keeper: null, lostKeeper: 8 }), 8);
  assert.equal('keeper' in takeSnapshot(serviceWith([]).service).handover, false);
});

test('a successor of this version reads all of it', () => {
  const { handover } = takeSnapshot(serviceWith([['tcp:9000', 'tcp:127.0.0.1:1', first]]).service);
  assert.deepEqual(parseHandover(JSON.parse(JSON.stringify(handover))), handover);
});
