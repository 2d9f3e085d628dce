/** Measurements of peers that speak TLS; what measure.ts has for all is used for TLS too. */
import { setTimeout as delay } from 'node:timers/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { handshakes, wrk } from './load-tools.ts';
import { costOf, pings } from './measure.ts';
import type { Figures, Measurement } from './measure.ts';
import type { RunningPeer } from './peers.ts';

const here = dirname(fileURLToPath(import.meta.url));
/** Handshakes that go on at a time. */
const clients = 3;

/** By several clients at a time, each handshake with a request. With `resumes`, of the session of the one before. */
export async function handshakesOf(
  peer: RunningPeer,
  { seconds, resumes, ...load }: Measurement & { resumes: boolean },
): Promise<Figures> {
  const startedAt = performance.now();
  const { result, cpu, all } = await costOf(peer, async () => {
    const counts = await Promise.all(
      Array.from({ length: clients }, () => handshakes({ ...load, port: peer.port, seconds, resumes })),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  });
  const took = (performance.now() - startedAt) / 1000;
  return {
    'CPU µs/handshake': (cpu / result) * 1e6,
    'all µs/handshake': (all / result) * 1e6,
    'handshakes/s': result / took,
  };
}

/** Large files over four connections to the client (down), and then from it (up). */
export async function bulkOverTls(peer: RunningPeer, { seconds, ...load }: Measurement): Promise<Figures> {
  const url = `https://127.0.0.1:${peer.port}`;
  const down = await costOf(peer, () => wrk({ ...load, url: `${url}/large`, connections: 4, seconds }));
  const up = await costOf(peer, () =>
    wrk({ ...load, url: `${url}/upload`, connections: 4, seconds, script: join(here, 'upload.lua') }),
  );
  const upBytes = up.result.requests * uploadBytes;
  return {
    'down CPU s/GB': down.cpu / (down.result.bytes / 1e9),
    'up CPU s/GB': up.cpu / (upBytes / 1e9),
    'down Gbit/s': (down.result.bytes * 8) / seconds / 1e9,
    'up Gbit/s': (upBytes * 8) / seconds / 1e9,
  };
}

/** What upload.lua sends with each request. */
const uploadBytes = Math.floor((8 * 2 ** 20) / 6) * 6;

/** Times to the answer on one quiet connection without TLS, while others shake hands as fast as they can. */
export async function besideHandshakes(peer: RunningPeer, { seconds, ...load }: Measurement): Promise<Figures> {
  const flood = Promise.all(
    Array.from({ length: clients }, () =>
      handshakes({ ...load, port: peer.port, seconds: seconds + 1, resumes: false }),
    ),
  );
  const quiet = async () => {
    await delay(400, undefined, load); // the flood is up to speed
    return pings(peer.plainPort!, { ...load, seconds });
  };
  const [counts, times] = await Promise.allSettled([flood, quiet()]);
  if (counts.status === 'rejected') throw counts.reason;
  if (times.status === 'rejected') throw times.reason;
  const sum = counts.value.reduce((total, count) => total + count, 0);
  return { 'p50 µs': times.value.p50, 'p99 µs': times.value.p99, 'handshakes/s': sum / (seconds + 1) };
}
