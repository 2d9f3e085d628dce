import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttemptsError, connectAny } from '../../../src/engine/portable/addresses.ts';
import { openFullBackend } from '../full-backend.ts';
import { openBackend } from '../peers.ts';

const never = new AbortController().signal;
const at = (port: number, hosts: string[]) => hosts.map((host) => ({ host, port, name: host }));

test('the next address is tried at once when one refuses', { timeout: 60_000 }, async () => {
  await using backend = await openBackend({ host: '::1' });
  const { socket, candidate } = await connectAny(at(backend.port, ['127.0.0.1', '::1']), {
    bindAddress: null,
    signal: never,
  });
  assert.deepEqual([socket.remoteAddress, candidate.host], ['::1', '::1']);
  socket.destroy();
});

test(
  'the next address is tried beside one that does not answer, and the first to answer is kept',
  { timeout: 60_000 },
  async () => {
    using full = await openFullBackend();
    assert.ok('port' in full.address);
    await using backend = await openBackend({ host: '::1', port: full.address.port });
    const startMs = performance.now();
    const { socket, candidate } = await connectAny(at(backend.port, ['127.0.0.1', '::1']), {
      bindAddress: null,
      signal: never,
    });
    assert.deepEqual([socket.remoteAddress, candidate.host], ['::1', '::1']);
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs >= 280, `${tookMs} ms`);
    socket.destroy();
  },
);

test('when every address refuses, each is named', { timeout: 60_000 }, async () => {
  const backend = await openBackend();
  await backend.close();
  const failing = connectAny(at(backend.port, ['127.0.0.1', '127.0.0.2', '::1']), { bindAddress: null, signal: never });
  await assert.rejects(failing, (error) => {
    assert.ok(error instanceof AttemptsError);
    assert.deepEqual(
      error.attempts.map(({ address }) => address),
      ['127.0.0.1', '127.0.0.2', '::1'],
    );
    return true;
  });
});

test('an abort ends every attempt', { timeout: 60_000 }, async () => {
  using full = await openFullBackend();
  assert.ok('port' in full.address);
  const controller = new AbortController();
  const connecting = connectAny(at(full.address.port, ['127.0.0.1']), { bindAddress: null, signal: controller.signal });
  controller.abort(new Error('enough'));
  await assert.rejects(connecting, /enough/);
  await assert.rejects(
    connectAny(at(full.address.port, ['127.0.0.1']), { bindAddress: null, signal: controller.signal }),
    /enough/,
  );
});
