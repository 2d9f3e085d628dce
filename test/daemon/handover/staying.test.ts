import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeStaying, stayingOf } from '../../../src/daemon/handover/staying.ts';
import type { Mover, Upstream } from '../../../src/engine/engine.ts';
import type { DestinationView } from '../../../src/forward/table.ts';

type Counts = { connections: number; handshakes?: number; unmovable?: number };
type Counted = Upstream & Counts;

function viewOf({ connections, handshakes = 0, unmovable = 0 }: Counts, isServed = true): DestinationView {
  const upstream = { connections, handshakes, unmovable } as Counted;
  const destination = { upstream, stats: () => ({ connections }) };
  return { destination, listener: isServed ? {} : null } as unknown as DestinationView;
}

const mover = {
  handshakes: (upstream: Counted) => upstream.handshakes,
  unmovable: (upstream: Counted) => upstream.unmovable,
} as unknown as Mover;
const native = { name: 'native', mover } as const;
const all = { any: true, tls: true };

test('what stays is counted for each reason, over all destinations, the most first', () => {
  const views = [
    viewOf({ connections: 0 }),
    viewOf({ connections: 5, handshakes: 1, unmovable: 4 }),
    viewOf({ connections: 3, handshakes: 1, unmovable: 1 }),
    viewOf({ connections: 6 }, false),
  ];
  const staying = stayingOf({ engine: native, views, takes: all, ofEarlier: 7 });
  assert.equal(
    describeStaying(staying),
    '7 of earlier restarts, 6 of a rule that was stopped, 5 of the portable engine (TLS, most often), which moves none, ' +
      '2 in a TLS handshake, 1 that could not be moved',
  );
});

test('what the new process does not take stays for that', () => {
  const views = [viewOf({ connections: 2, handshakes: 1 })];
  const why = (options: object) =>
    describeStaying(stayingOf({ engine: native, views, takes: all, ofEarlier: 0, ...options }));
  assert.equal(
    why({ takes: { any: true, tls: false } }),
    '1 in a TLS handshake, 1 with TLS, which the new process does not take',
  );
  assert.equal(why({ takes: { any: false, tls: false } }), '2 that the new process does not take');
  assert.equal(why({ engine: { name: 'portable' } }), '2 of the portable engine, which moves none');
});
