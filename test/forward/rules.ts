/** A forwarder on an engine without sockets, for tests of what becomes of its rules. */
import { parseClient } from '../../src/endpoint/client.ts';
import { clientKey, listenKey, serverKey } from '../../src/endpoint/identity.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { Changes } from '../../src/forward/changes.ts';
import { Forwarder } from '../../src/forward/forwarder.ts';
import type { RuleSpec } from '../../src/forward/rule.ts';
import type { Listener } from '../../src/net/listener.ts';
import { FakeEngine } from './fake-engine.ts';

export function ruleOf(src: string, dst: string): RuleSpec {
  const from = parseServer(src);
  const to = parseClient(dst);
  return {
    src: { typed: src, absolute: src, key: serverKey(from), listenKey: listenKey(from), endpoint: from },
    dst: { typed: dst, absolute: dst, key: clientKey(to), endpoint: to },
  };
}

export function openForwarder({
  save = async () => {},
}: { save?: (rules: readonly RuleSpec[]) => Promise<void> } = {}) {
  const engine = new FakeEngine();
  const saved: (readonly RuleSpec[])[] = [];
  const listener: Listener = {
    fd: -1,
    name: 'fake',
    address: { family: 'inet', host: '127.0.0.1', port: 9000 },
    backlog: 50,
    inode: 1,
    isOpen: true,
    dup: () => -1,
    close() {},
  };
  const forwarder = new Forwarder({
    engine,
    changes: new Changes(),
    openListener: async () => listener,
    closeListener() {},
    async save(rules) {
      await save(rules);
      saved.push(rules);
    },
    observe: () => ({}),
  });
  /** A client connects, and all of its destination get answers. */
  const connect = () => Object.assign(engine.accept(listener), { bytesOut: 10 });
  /** Destinations with their connections, and whether they are current. */
  const table = () =>
    forwarder
      .views()
      .map(({ destination, isCurrent }) => [destination.spec.typed, destination.stats().connections, isCurrent]);
  /** What was stored last: destinations as typed. */
  const stored = () => saved.at(-1)?.map(({ dst }) => dst.typed);
  return { engine, forwarder, listener, table, saved, stored, connect };
}
