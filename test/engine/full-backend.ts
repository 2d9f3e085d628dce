import type { Socket } from 'node:net';
import type { Listener } from '../../src/net/listener.ts';
import { openListener } from '../../src/net/open.ts';
import { connectTo } from './peers.ts';
import type { Address } from './peers.ts';
import { addressOf } from './rig.ts';

/** A backend that is alive but accepts nothing, with a full queue: a connect to it neither succeeds nor fails. */
export type FullBackend = Disposable & {
  readonly address: Address;
  readonly listener: Listener;
  /** The clients that fill the queue. */
  readonly waiting: readonly Socket[];
};

export async function openFullBackend(path?: string): Promise<FullBackend> {
  const spec =
    path === undefined
      ? ({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 1 } as const)
      : ({ kind: 'unix', path, mode: 0o600, backlog: 1 } as const);
  const listener = await openListener(spec, { name: 'full' });
  const address = addressOf(listener);
  // Linux takes one more than the backlog.
  const waiting = [await connectTo(address), await connectTo(address)];
  return {
    address,
    listener,
    waiting,
    [Symbol.dispose]() {
      for (const socket of waiting) socket.destroy();
      listener.close();
    },
  };
}
