import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NotFoundError, downloadBytes, downloadFile } from '../../src/upgrade/download.ts';
import { makeTempDir, openReleaseServer } from '../install/release-server.ts';

const timeout = 60_000;
const bounds = { limit: 1024 * 1024, silenceMs: 10_000, totalMs: 10_000, signal: new AbortController().signal };

test('a download follows redirects over http, as many as are sensible', { timeout }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publish('0.1.0');
  server.spoil(/^\/moved/, { redirect: `${server.url}/install.sh` });
  server.spoil(/^\/install\.sh\?loop/, { redirect: '/moved' });
  const expected = readFileSync(join(server.directory, 'install.sh'));
  server.spoil(/SHA256SUMS$/, { redirect: '/install.sh' });
  const url = new URL(`${server.url}/latest/download/SHA256SUMS`);
  assert.deepEqual(await downloadBytes(url, bounds), expected);
  const file = join(makeTempDir(t), 'file');
  await downloadFile(url, file, bounds);
  assert.deepEqual(readFileSync(file), expected);
});

test('a download does not follow where http does not lead, nor in circles', { timeout }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publish('0.1.0');
  server.spoil(/grace\.1$/, { redirect: 'file:///etc/passwd' });
  server.spoil(/grace\.fish$/, { redirect: '/latest/download/grace.fish' });
  await assert.rejects(
    downloadBytes(new URL(`${server.url}/latest/download/grace.1`), bounds),
    /cannot download .*: it leads to file:.*, which is not secure/,
  );
  await assert.rejects(
    downloadBytes(new URL(`${server.url}/latest/download/grace.fish`), bounds),
    /more than 5 redirects/,
  );
});

test('a download ends at its limits of size, silence and time, and when it is cut off', { timeout }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publish('0.1.0');
  const url = (name: string) => new URL(`${server.url}/latest/download/${name}`);
  await assert.rejects(downloadBytes(url('install.sh'), { ...bounds, limit: 100 }), /larger than 100 bytes/);
  server.spoil(/grace\.1$/, 'silent');
  await assert.rejects(downloadBytes(url('grace.1'), { ...bounds, silenceMs: 50 }), /no answer for 0\.05 s/);
  await assert.rejects(downloadBytes(url('grace.1'), { ...bounds, totalMs: 50 }), /not done after 0\.05 s/);
  server.spoil(/grace\.bash$/, 'truncated');
  await assert.rejects(downloadBytes(url('grace.bash'), bounds), /cannot download/);
  await assert.rejects(downloadBytes(url('none'), bounds), NotFoundError);
  await assert.rejects(
    downloadBytes(new URL('http://127.0.0.1:1/'), bounds),
    /cannot download .*ECONNREFUSED|bad port/,
  );
});

test('a download that is given up rejects with the reason of the signal', { timeout }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publish('0.1.0');
  server.spoil(/grace\.1$/, 'silent');
  const aborter = new AbortController();
  const file = join(makeTempDir(t), 'file');
  const downloading = downloadFile(new URL(`${server.url}/latest/download/grace.1`), file, {
    ...bounds,
    signal: aborter.signal,
  });
  aborter.abort(new Error('interrupted'));
  await assert.rejects(downloading, /interrupted/);
  assert.equal(existsSync(file), false);
});
