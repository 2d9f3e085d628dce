/** Options of sources and destinations that speak TLS, with the portable engine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openPortableEngine } from '../../../src/engine/portable/engine.ts';
import { endingOf, readAll } from '../peers.ts';
import { Rig } from '../rig.ts';
import { tlsOptionsSuite } from '../tls-options-suite.ts';
import { openTlsBackend, pemFiles, read, sslTo } from '../tls-peers.ts';

const timeout = 60_000;
const pem = pemFiles();

tlsOptionsSuite(openPortableEngine);

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`truncation=reset of a destination that was cut off resets its client (${version})`, { timeout }, async () => {
    await using rig = new Rig(openPortableEngine);
    await using backend = await openTlsBackend({
      key: read(pem().key),
      cert: read(pem().fullChain),
      minVersion: version,
      maxVersion: version,
    });
    const { connect } = await rig.forward({ to: sslTo(backend.port, pem(), { truncation: 'reset' }) });
    const orderly = await connect();
    const peer = await backend.next();
    orderly.end('question');
    assert.equal(await readAll(peer), 'question');
    peer.end('answer');
    assert.equal(await readAll(orderly), 'answer');
    assert.equal((await rig.endedConnections(1))[0]?.error, null);

    const cut = await connect();
    const other = await backend.next();
    other.write('half', () => backend.truncate(other));
    assert.equal(await endingOf(cut), 'reset');
    assert.match((await rig.endedConnections(2))[1]?.error?.message ?? '', /the destination ended TLS without saying/);
  });
}
