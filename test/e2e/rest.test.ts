import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { memoryOf } from './processes.ts';
import { until } from '../until.ts';

const timeout = 60_000;
const src = 'tcp:0:interface=127.0.0.1';

test(
  'a daemon at rest gives back what starting took, and serves on',
  { timeout, skip: runtime === 'executable' ? false : 'only the executable is measured' },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'A');
    await grace.ok('start', src, backend.endpoint);
    const { pid } = await grace.status();
    const port = await grace.port(src);
    // Before: 36 MB of its own, 103 MB in all.
    await until('it has given memory back', () => memoryOf(pid).anonymous < 31_500 && memoryOf(pid).rss < 72_000);
    const { rss, pss, anonymous } = memoryOf(pid);
    t.diagnostic(`daemon at rest: RSS ${rss} kB, PSS ${pss} kB, of its own ${anonymous} kB`);
    const client = await openClient(t, { port });
    assert.equal(await client.line(), 'A');
    await client.end();
  },
);
