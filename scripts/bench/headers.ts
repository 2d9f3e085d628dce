/** Peers that take a PROXY header and send one, beside the same that pass it on as bytes like others. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Build } from './options.ts';
import { grace, haproxy, nginx } from './peers.ts';
import type { Peer } from './peers.ts';
import { answers, freePort } from './ports.ts';

const sender = haproxy('sender', { sendsHeaders: true });

/** Between the load and the peer stands an HAProxy that sends a header of version 2, and is not counted; the backend takes one. */
function behindSender(peer: Peer): Peer {
  return {
    ...peer,
    async start(options) {
      const port = await freePort();
      const running = await peer.start({ ...options, port });
      try {
        await answers(port, { ended: running.ended, signal: options.signal });
        const dir = join(options.dir, 'sender');
        mkdirSync(dir);
        const before = await sender.start({ ...options, dir, upstreamPort: port });
        return {
          ...running,
          async stop() {
            await before.stop();
            await running.stop();
          },
        };
      } catch (error) {
        await running.stop();
        throw error;
      }
    },
  };
}

/** The last build and others, each both ways: what the header costs is the difference. */
export function headerPeers(builds: readonly Build[]): Peer[] {
  const { path } = builds.at(-1)!;
  const headers = { takesHeaders: true, sendsHeaders: true };
  return [
    haproxy('HAProxy', headers),
    grace('grace native', { path, engine: 'native', ...headers }),
    haproxy('HAProxy again', headers),
    nginx('nginx stream', headers),
    haproxy('HAProxy, bytes alone'),
    grace('grace, bytes alone', { path, engine: 'native' }),
    nginx('nginx, bytes alone'),
  ].map(behindSender);
}
