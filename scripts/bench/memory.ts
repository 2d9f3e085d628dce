/** Memory of a peer at rest, and with many connections that do nothing. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import type { Figures } from './measure.ts';
import type { RunningPeer } from './peers.ts';
import { settledKb } from './settled.ts';

/** At most so many connections are being made at a time. */
const batchSize = 100;

/** A peer that has run out of descriptors lets its clients wait for ever. */
const batchTimeoutMs = 15_000;

/** Descriptors that a peer may need for other things. */
const spareDescriptors = 100;

/** What the first ones need is not theirs alone: buffers, pools, and code that is compiled when it has run a while. */
const firstShare = 0.25;

/**
 * With fewer connections than asked for, where a peer is not allowed the descriptors for them; the figures say how many.
 * What one more needs is told by those behind the first quarter; what all need together, by `with all MB`.
 */
export async function memory(
  peer: RunningPeer,
  { count: wanted, isTls = false, signal }: { count: number; isTls?: boolean; signal: AbortSignal },
): Promise<Figures> {
  const count = Math.min(
    wanted,
    Math.floor((descriptorLimit(peer.pid) - spareDescriptors) / peer.descriptorsPerConnection),
  );
  const atRest = await settledKb(peer, signal);
  const sockets: net.Socket[] = [];
  const open = async (total: number) => {
    while (sockets.length < total) {
      const batch = Array.from({ length: Math.min(batchSize, total - sockets.length) }, () =>
        isTls
          ? tls.connect({ port: peer.port, host: '127.0.0.1', rejectUnauthorized: false })
          : net.connect(peer.port, '127.0.0.1'),
      );
      sockets.push(...batch);
      await Promise.all(
        batch.map((socket) => echo(socket, AbortSignal.any([signal, AbortSignal.timeout(batchTimeoutMs)]))),
      ).catch((error: unknown) => {
        throw new Error(`after ${sockets.length - batch.length} of ${count} connections: ${(error as Error).message}`);
      });
    }
    return await settledKb(peer, signal);
  };
  try {
    const first = Math.ceil(firstShare * count);
    const withFirst = await open(first);
    const withAll = await open(count);
    return {
      'at rest MB': atRest / 1024,
      'with all MB': withAll / 1024,
      'kB/connection': (withAll - withFirst) / (count - first),
      connections: count,
    };
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

function descriptorLimit(pid: number): number {
  const [, soft] = /^Max open files +([0-9]+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8')) ?? [];
  return Number(soft ?? Infinity);
}

/** Send a byte and wait until it has come back. */
async function echo(socket: net.Socket, signal: AbortSignal): Promise<void> {
  socket.on('error', () => {}); // the wait below ends with it
  await once(socket, socket instanceof tls.TLSSocket ? 'secureConnect' : 'connect', { signal });
  const echoed = once(socket, 'data', { signal });
  socket.write('x');
  await echoed;
}
