/** Which sessions are kept and offered, for how long, and how often. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openClientContext } from '../../../../src/engine/native/tls/client-context.ts';
import { openAuthority } from '../../../../src/engine/native/tls/client-self-test.ts';
import { TLS12, TLS13 } from '../../../../src/engine/native/tls/key-table.ts';
import { openCrypto } from '../../../../src/engine/native/tls/library.ts';
import { allowOnly, carry, freePair, openPair } from '../../../../src/engine/native/tls/rehearsal.ts';
import {
  MAX_SESSIONS,
  openSessionPlan,
  openSessionTotal,
  SessionPool,
} from '../../../../src/engine/native/tls/session-pool.ts';
import { Sessions } from '../../../../src/engine/native/tls/sessions.ts';
import { openSsl, X509_VP_FLAG_LOCKED } from '../../../../src/engine/native/tls/ssl-library.ts';

const HERE = new Uint8Array(28).fill(1);
const THERE = new Uint8Array(28).fill(2);
const HOUR_MS = 3_600_000;

describe('sessions', { skip: 'Deno' in globalThis && 'Deno has no OpenSSL' }, () => {
  let bench: Bench;
  before(() => (bench = new Bench()));
  after(() => bench.close());

  for (const version of [TLS13, TLS12])
    test(`one is offered until its certificate, or its lifetime, is over (${version.toString(16)})`, (t) => {
      for (const [isVerified, hours] of [[true, 1] as const, [false, 2] as const]) {
        t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
        const pool = openPool();
        assert.equal(bench.shake(pool, { version, isVerified }), false);
        assert.equal(bench.shake(pool, { version, isVerified }), true);
        t.mock.timers.tick(hours * HOUR_MS - 60_000);
        assert.equal(bench.offers(pool), true, 'a minute before');
        t.mock.timers.tick(120_000);
        assert.equal(bench.offers(pool), false, 'a minute after');
        t.mock.timers.reset();
        bench.sessions.close(pool);
      }
    });

  test('one is offered once, but the last of an address again and again', () => {
    const pool = openPool();
    for (let given = 0; given < 3; given++) bench.shake(pool, { isOffered: false });
    assert.equal(count(pool), 3);
    for (const left of [2, 1, 1, 1]) {
      assert.equal(bench.offers(pool), true);
      assert.equal(count(pool), left);
    }
    assert.equal(bench.offers(pool, THERE), false);
    bench.shake(pool, { address: THERE });
    assert.equal(bench.offers(pool, THERE), true);
    assert.equal(count(pool), 2);
    bench.sessions.drop(pool, HERE);
    assert.equal(bench.offers(pool, HERE), false);
    assert.equal(bench.offers(pool, THERE), true);
    bench.sessions.close(pool);
    assert.equal(bench.offers(pool, THERE), false);
  });

  test('none is kept whose ticket is long', () => {
    const pool = openPool();
    for (const size of [7000, 9000]) bench.shake(pool, { isOffered: false, ticketSize: size });
    assert.equal(count(pool), 1);
    bench.sessions.close(pool);
  });

  test('none are kept for a while of a server that takes none of three', (t) => {
    const pool = openPool();
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    const begun = Date.now();
    const note = (isTaken: boolean) => {
      t.mock.timers.tick(1);
      pool.note(Date.now(), { isTaken });
    };
    for (const isTaken of [false, false, true, false, false]) note(isTaken);
    for (let other = 0; other < 10; other++) pool.note(begun, { isTaken: false });
    assert.equal(pool.hasRoom, true, 'those that were offered at once count as one');
    note(false);
    assert.equal(pool.hasRoom, false);
    t.mock.timers.tick(61_000);
    assert.equal(pool.hasRoom, true);
    note(false);
    assert.equal(pool.hasRoom, false);
    t.mock.timers.tick(61_000);
    note(true);
    note(false);
    assert.equal(pool.hasRoom, true);
  });

  test('there are so many at most, and none in a pool that is closed', () => {
    const total = openSessionTotal();
    const pool = new SessionPool(openSessionPlan(total));
    for (let given = 0; given < MAX_SESSIONS + 3; given++) bench.shake(pool, { isOffered: false });
    assert.equal(count(pool), MAX_SESSIONS);
    assert.equal(pool.hasRoom, false);
    assert.equal(new Int32Array(total)[0], MAX_SESSIONS);
    bench.sessions.close(pool);
    bench.shake(pool);
    assert.equal(new Int32Array(total)[0], 0);
    const others = Array.from({ length: 70 }, () => new SessionPool(openSessionPlan(total)));
    const put = others.map((each) => Array.from({ length: MAX_SESSIONS }, () => each.put(1n)).filter(Boolean).length);
    assert.equal(
      put.reduce((sum, each) => sum + each),
      2048,
    );
  });
});

function openPool(): SessionPool {
  return new SessionPool(openSessionPlan(openSessionTotal()));
}

function count(pool: SessionPool): number {
  const sessions = [...pool.takeAll()];
  for (const session of sessions.reverse()) pool.put(session);
  return sessions.length;
}

/** Handshakes of libssl with itself, in memory. */
class Bench {
  readonly #ssl = openSsl();
  readonly #crypto = openCrypto();
  readonly #library = { ssl: this.#ssl, crypto: this.#crypto };
  readonly sessions = new Sessions(this.#library);
  readonly #buffer = this.#crypto.pin(65_536);
  readonly #server: bigint;
  readonly #clients: readonly bigint[];

  constructor() {
    const { key, certificate } = openAuthority(this.#library);
    const ssl = this.#ssl;
    const store = ssl.X509_STORE_new();
    ssl.X509_STORE_add_cert(store, certificate);
    this.#clients = [store, null].map((trust) => openClientContext(this.#library, { trust, identity: null, alpn: [] }));
    ssl.X509_STORE_free(store);
    this.#server = ssl.SSL_CTX_new(ssl.TLS_server_method());
    ssl.SSL_CTX_use_PrivateKey(this.#server, key);
    ssl.SSL_CTX_use_certificate(this.#server, certificate);
    ssl.SSL_CTX_set_num_tickets(this.#server, 1n);
    ssl.X509_free(certificate);
    ssl.EVP_PKEY_free(key);
  }

  /** A handshake that is made from beginning to end. Returns whether it was resumed. */
  shake(
    pool: SessionPool,
    { version = TLS13, isVerified = true, isOffered = true, address = HERE, ticketSize = 0 }: Partial<Shake> = {},
  ): boolean {
    const ssl = this.#ssl;
    const [verifying, trusting] = this.#clients as [bigint, bigint];
    const buffer = this.#buffer;
    allowOnly(ssl, this.#server, version);
    const pair = openPair(ssl, { client: isVerified ? verifying : trusting, server: this.#server });
    const { client, server } = pair;
    ssl.X509_VERIFY_PARAM_set_inh_flags(ssl.SSL_get0_param(client.ssl), X509_VP_FLAG_LOCKED);
    if (isOffered) this.sessions.offer(client.ssl, pool, address);
    for (let step = 0; step < 5; step++) {
      ssl.SSL_do_handshake(client.ssl);
      carry(ssl, client.out, server.in, buffer);
      ssl.SSL_do_handshake(server.ssl);
      // What a server notes beside a session is in its ticket.
      if (ticketSize > 0 && step === 0)
        ssl.SSL_SESSION_set1_ticket_appdata(ssl.SSL_get_session(server.ssl), buffer.address, BigInt(ticketSize));
      carry(ssl, server.out, client.in, buffer);
    }
    assert.equal(ssl.SSL_do_handshake(client.ssl), 1);
    const isResumed = ssl.SSL_session_reused(client.ssl) === 1;
    if (!isResumed) this.sessions.note(client.ssl, address, { isVerified });
    ssl.SSL_read(client.ssl, buffer.address, 64n);
    this.sessions.keep(client.ssl, pool);
    freePair(ssl, pair);
    return isResumed;
  }

  /** Whether a handshake that begins now has a session to offer. */
  offers(pool: SessionPool, address = HERE): boolean {
    const handshake = this.#ssl.SSL_new(this.#clients[0]!);
    const isOffered = this.sessions.offer(handshake, pool, address);
    this.#ssl.SSL_free(handshake);
    return isOffered;
  }

  close(): void {
    for (const context of [...this.#clients, this.#server]) this.#ssl.SSL_CTX_free(context);
  }
}

type Shake = { version: number; isVerified: boolean; isOffered: boolean; address: Uint8Array; ticketSize: number };
