/**
 * Whether the runtime's OpenSSL does what the handshakes here rely on without its promise: that the key log, by way of a function that
 * was made for something else, gives the secrets (see server-context.ts), and that records can go on where libssl has ended. Tried
 * once, in memory, with a client of libssl's own at the other end.
 */
import { TLS12, TLS13 } from './key-table.ts';
import type { Library } from './identity.ts';
import { word } from './library.ts';
import type { Pinned } from './library.ts';
import { allowOnly, BUFFER_SIZE, carry, freePair, MAX_STEPS, openPair, rehearse } from './rehearsal.ts';
import { ServerHello } from './server-hello.ts';
import type { Ssl } from './ssl-library.ts';

/** Shake hands with a server of this SSL_CTX, and say something each way. Returns what went wrong; null: nothing did. */
export function findFlaw(library: Library, context: bigint): string | null {
  const results = [TLS13, TLS12].map((version) => tryVersion(library, context, version));
  const flaws = results.filter((result) => typeof result === 'string');
  if (flaws[0] !== undefined) return flaws[0];
  return results.includes(true) ? null : 'a handshake with itself did not succeed';
}

const PROTOCOL = 'grace/test';

/** The same of a protocol that a server agrees on by ALPN. The SSL_CTX is one that stops at a ClientHello. */
export function findAlpnFlaw(library: Library, context: bigint): string | null {
  const { ssl, crypto } = library;
  const hello = new ServerHello(library);
  const buffer = crypto.pin(BUFFER_SIZE);
  const clientContext = ssl.SSL_CTX_new(ssl.TLS_client_method());
  const pair = openPair(ssl, { client: clientContext, server: context });
  const { client, server } = pair;
  const offered = Buffer.from(`${String.fromCharCode(PROTOCOL.length)}${PROTOCOL}`);
  try {
    buffer.bytes.set(offered);
    ssl.SSL_set_alpn_protos(client.ssl, buffer.address, word(offered.length));
    for (let step = 0; step < MAX_STEPS; step++) {
      const isClientDone = ssl.SSL_do_handshake(client.ssl) === 1;
      if (isClientDone) return isAgreed(ssl, client.ssl, buffer) ? null : 'OpenSSL does not agree on a protocol';
      carry(ssl, client.out, server.in, buffer);
      const result = ssl.SSL_do_handshake(server.ssl);
      if (hello.isAt(server.ssl, result)) {
        if (!hello.agreeOn(server.ssl, PROTOCOL)) return 'OpenSSL cannot be told of a protocol';
        hello.proceed(server.ssl, context);
      } else if (step === 0) return 'OpenSSL does not stop at a ClientHello';
      carry(ssl, server.out, client.in, buffer);
    }
    return 'a handshake with a protocol did not succeed';
  } finally {
    freePair(ssl, pair);
    ssl.SSL_CTX_free(clientContext);
    buffer.bytes.fill(0);
  }
}

function isAgreed(ssl: Ssl, client: bigint, { bytes, address }: Pinned): boolean {
  bytes.fill(0, 0, 16);
  ssl.SSL_get0_alpn_selected(client, address, address + 8n);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [found, length] = [view.getBigUint64(0, true), view.getUint32(8, true)];
  if (found === 0n || length !== PROTOCOL.length) return false;
  ssl.memcpy(address, found, word(length));
  return Buffer.from(bytes.subarray(0, length)).toString('latin1') === PROTOCOL;
}

/** True: it works; false: this version is not spoken; else what went wrong. */
function tryVersion(library: Library, server: bigint, version: number): string | boolean {
  const { ssl } = library;
  const client = ssl.SSL_CTX_new(ssl.TLS_client_method());
  allowOnly(ssl, client, version);
  try {
    const verdict = rehearse(
      library,
      { client, server, own: 'server' },
      ({ pair, isClientDone, isServerDone, sealed, talk }) => {
        if (!isServerDone) return undefined;
        // In TLS 1.2 the last flight is the server's.
        if (!isClientDone && ssl.SSL_do_handshake(pair.client.ssl) !== 1) return false;
        return talk(version === TLS13 ? sealed : 0);
      },
    );
    return verdict ?? false;
  } finally {
    ssl.SSL_CTX_free(client);
  }
}
