/** What a successor makes of the rules that it is handed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Handover, HandedRule } from '../../../src/daemon/handover/messages.ts';
import { adoptRules } from '../../../src/daemon/rules/restore.ts';
import type { Service } from '../../../src/daemon/service.ts';
import { Changes } from '../../../src/forward/changes.ts';
import { Forwarder } from '../../../src/forward/forwarder.ts';
import type { Listener } from '../../../src/net/listener.ts';
import { FakeEngine } from '../../forward/fake-engine.ts';

const text = (endpoint: string) => ({ typed: endpoint, absolute: endpoint });
const since = '2026-01-02T03:04:05.678Z';
const served = (src: string, listener: number): HandedRule => ({
  src: text(src),
  dst: text('tcp:127.0.0.1:9'),
  listener,
  bytesIn: 10,
  bytesOut: 20,
  since,
});

function handoverOf(rules: HandedRule[], more: Partial<Handover> = {}): Handover {
  return { format: 1, version: '1.2.3', pid: 7, startedAt: since, rules, sockets: [], ...more };
}

function setUp() {
  const engine = new FakeEngine();
  const refuse = () => Promise.reject(new Error('nothing is opened or written for it'));
  const forwarder = new Forwarder({
    engine,
    changes: new Changes(),
    openListener: refuse,
    closeListener: () => {},
    save: refuse,
    observe: () => ({}),
  });
  const listeners = [0, 1].map(
    (index) =>
      ({
        fd: -1,
        name: `${index}`,
        address: { family: 'inet', host: '127.0.0.1', port: 9000 + index },
        isOpen: true,
      }) as Listener,
  );
  const asked: number[] = [];
  const handedOver = (_src: unknown, index: number) => {
    asked.push(index);
    return listeners[index]!;
  };
  const service = { forwarder, unread: [], listeners: { handedOver } } as Pick<Service, 'forwarder' | 'unread'> & {
    listeners: unknown;
  } as Service;
  return { service, engine, forwarder, listeners, asked };
}

test('rules go on with their listeners and counters, in their order', () => {
  const { service, engine, forwarder, listeners } = setUp();
  adoptRules(service, handoverOf([served('tcp:9001', 1), served('tcp:9000', 0)]));
  assert.deepEqual(
    forwarder.specs.map(({ src }) => src.typed),
    ['tcp:9001', 'tcp:9000'],
  );
  for (const listener of listeners) assert.equal(engine.accept(listener).connections, 1);
  const [first] = forwarder.views();
  assert.deepEqual(
    [first?.destination.since, first?.destination.stats().bytesIn, first?.destination.stats().bytesOut],
    [since, 10 + 10, 20],
  );
});

test('a rule that the predecessor could not serve is kept, and told of', () => {
  const { service, forwarder, asked } = setUp();
  adoptRules(service, handoverOf([{ ...served('tcp:9000', 0), listener: null }]));
  assert.deepEqual(
    forwarder.broken.map(({ spec, error }) => [spec.src.typed, error.message]),
    [['tcp:9000', 'it could not be served before the restart']],
  );
  assert.deepEqual(asked, []);
});

test('a destination whose path is too long goes on, also under TLS: its clients are told, and the restart is not refused for it', () => {
  const { service, forwarder } = setUp();
  const path = `/tmp/${'x'.repeat(120)}`;
  const rules = [`unix:${path}`, `tls:h:1:endpoint=unix\\:${path}`].map((dst, index) => ({
    ...served(`tcp:900${index}`, index),
    dst: text(dst),
  }));
  adoptRules(service, handoverOf(rules));
  assert.equal(forwarder.specs.length, 2);
});

test('rules that the predecessor did not understand are passed on as they are', () => {
  const { service } = setUp();
  const unread = [{ src: text('quic:1'), dst: text('quic:2'), port: 3 }];
  adoptRules(service, handoverOf([], { unread }));
  assert.deepEqual(service.unread, unread);
});

for (const [what, bad] of [
  ['an endpoint that this version does not know', served('quic:9000', 1)],
  ['a certificate that is gone', served('ssl:9000:privateKey=/missing/key.pem', 1)],
  [
    'certificates to trust that are gone',
    { ...served('tcp:9001', 1), dst: text('tls:localhost:9:trustRoots=/missing') },
  ],
] as const) {
  test(`${what} fails before any rule accepts`, () => {
    const { service, engine, forwarder, asked } = setUp();
    assert.throws(() => adoptRules(service, handoverOf([served('tcp:9000', 0), bad])), /GraceError|EndpointError/);
    assert.deepEqual([forwarder.specs, asked, engine.upstreams], [[], [], []]);
  });
}
