/** Authorities that are the same are one store of libssl, and one that nobody trusts any more is freed. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readServerParts } from '../../../../src/endpoint/server-parts.ts';
import type { SslClient, SslServer, TlsClient, TlsServer } from '../../../../src/endpoint/model.ts';
import { openFunctions } from '../../../../src/sys/library.ts';
import { readClientFiles } from '../../../../src/engine/client-files.ts';
import { openCrypto } from '../../../../src/engine/native/tls/library.ts';
import { HandshakeService } from '../../../../src/engine/native/tls/service.ts';
import { openSsl } from '../../../../src/engine/native/tls/ssl-library.ts';
import { TrustStores } from '../../../../src/engine/native/tls/trust-stores.ts';
import { UpstreamContexts } from '../../../../src/engine/native/tls/upstream-contexts.ts';
import { Threads } from '../../../../src/engine/native/threads.ts';
import { TicketRing } from '../../../../src/engine/ticket-ring.ts';
import { until } from '../../../until.ts';
import { pemFiles, read, sslFrom, sslTo, tlsFrom, tlsTo } from '../../tls-peers.ts';

const skip = process.platform !== 'linux' || 'Deno' in globalThis;
const pem = pemFiles();

describe('stores of authorities', { skip, timeout: 60_000 }, () => {
  let bench: Bench;
  before(() => (bench = new Bench()));
  after(() => bench.close());

  test('they are shared by who trusts the same texts in the same order, and by nobody else', () => {
    const [root, other] = [read(pem().root), read(pem().otherCert)];
    const stores = new TrustStores(bench.library);
    const kinds = [[root], [other], [root, other], [other, root], [root + other], []];
    const opened = kinds.map((each) => stores.open(each));
    assert.equal(new Set(opened.map(({ address }) => address)).size, kinds.length);
    assert.deepEqual(
      opened.map(({ address }) => bench.certificates(address)),
      [1, 1, 2, 2, 2, 0],
    );
    assert.deepEqual(
      opened.map(({ certificates }) => certificates.length),
      [1, 1, 2, 2, 2, 0],
    );
    const again = kinds.map((each) => stores.open(each));
    assert.deepEqual(
      again.map(({ address }) => address),
      opened.map(({ address }) => address),
    );
    for (const each of [...opened, ...again]) each.close();
  });

  test('one is let go of by the last who closes it, however often, and is read anew for the next', () => {
    const stores = new TrustStores(bench.library);
    const texts = [read(pem().root)];
    const [first, second] = [stores.open(texts), stores.open(texts)];
    const end = bench.hold(first.address);
    first.close();
    first.close();
    assert.equal(bench.references(first.address), 2, 'this test and the second');
    assert.equal(stores.open(texts).address, first.address);
    second.close();
    assert.equal(bench.references(first.address), 2, 'this test and the third');
    const others = new TrustStores(bench.library).open(texts);
    assert.notEqual(others.address, first.address, 'engines have theirs each');
    others.close();
    end();
  });

  test('destinations that trust the same have the same, whoever they are', () => {
    const { caDir, root, otherCert } = pem();
    const copy = bench.directory(root);
    const [all, ...rest] = [
      sslTo(1, pem()),
      sslTo(2, pem(), { hostname: 'www.example.com', alpn: ['h2'] }),
      sslTo(3, pem(), { certKey: pem().fullChain, privateKey: pem().key }),
      tlsTo(4, pem(), { trustRoots: caDir }),
      tlsTo(5, pem(), { trustRoots: copy }),
    ].map((endpoint) => bench.open(endpoint));
    for (const each of rest) assert.equal(bench.storeOf(each), bench.storeOf(all!));
    const others = [
      sslTo(6, pem(), { caCertsDir: bench.directory(otherCert) }),
      sslTo(7, pem(), { caCertsDir: bench.directory(root, otherCert) }),
      sslTo(8, pem(), { caCertsDir: null }),
      sslTo(9, pem(), { caCertsDir: null, insecure: true }),
    ].map((endpoint) => bench.open(endpoint));
    const stores = [all!, ...others].map((each) => bench.storeOf(each));
    assert.equal(new Set(stores).size, 5);
    const [system, nobodyAsks] = others.slice(2) as [bigint, bigint];
    assert.ok(bench.certificates(bench.storeOf(system)) > 0);
    assert.equal(bench.certificates(bench.storeOf(nobodyAsks)), 0);
    assert.equal(bench.storeOf(bench.open(tlsTo(10, pem(), { trustRoots: null }))), bench.storeOf(system));
    for (const context of [all!, ...rest, ...others]) bench.service.free(Number(context));
  });

  test('a destination that is gone keeps nothing of its store, which goes with the last', async () => {
    const [first, second] = [bench.open(sslTo(1, pem())), bench.open(tlsTo(2, pem()))];
    const store = bench.storeOf(first);
    const end = bench.hold(store);
    const both = bench.references(store);
    bench.service.free(Number(first));
    await bench.untilReferences(store, both - 1);
    assert.equal(bench.storeOf(bench.open(sslTo(3, pem()))), store, 'there is one that has it');
    bench.service.free(Number(bench.lastOpened));
    bench.service.free(Number(second));
    await bench.untilReferences(store, 1);
    end();
  });

  test('one that libssl refuses, or whose files are bad, keeps nothing of its store', () => {
    const context = bench.open(sslTo(1, pem()));
    const end = bench.hold(bench.storeOf(context));
    const references = bench.references(bench.storeOf(context));
    assert.throws(() => bench.open(sslTo(2, pem(), { alpn: ['x'.repeat(300)] })), { name: 'GraceError' });
    assert.throws(() => bench.open(sslTo(2, pem(), { certKey: pem().junk })), { name: 'EndpointError' });
    assert.equal(bench.references(bench.storeOf(context)), references);
    end();
    bench.service.free(Number(context));
  });

  test('reading files anew keeps what is made of those that say the same, and frees a store when they say something else', async () => {
    const contexts = new UpstreamContexts();
    const caCertsDir = bench.directory(pem().root);
    const certKey = join(caCertsDir, 'own');
    const own = (...files: string[]) => writeFileSync(certKey, files.map(read).join(''));
    own(pem().key, pem().fullChain);
    const [changing, constant] = [sslTo(1, pem(), { caCertsDir, certKey }), sslTo(2, pem())];
    const open = (id: number, endpoint: typeof constant) => BigInt(contexts.open(bench.service, id, endpoint).context);
    const store = bench.storeOf(open(1, changing));
    assert.equal(bench.storeOf(open(2, constant)), store);
    const end = bench.hold(store);
    const references = bench.references(store);
    const anew = (id: number, endpoint: typeof constant) => {
      const { opened, before } = contexts.reload(bench.service, id, new Map([[id, endpoint]]));
      assert.equal(before.length, opened.size);
      contexts.drop(bench.service, before);
      return [...opened.values()].map(({ context }) => BigInt(context));
    };
    const reload = (id: number, endpoint: typeof constant) => bench.storeOf(anew(id, endpoint)[0]!);
    own(pem().key, pem().fullChain);
    for (let again = 0; again < 3; again++)
      assert.deepEqual([...anew(1, changing), ...anew(2, constant)], [], 'all say the same');
    for (const cert of [pem().cert, pem().fullChain]) {
      own(pem().key, cert);
      assert.equal(reload(1, changing), store, 'whom it trusts is the same');
    }
    await bench.untilReferences(store, references);
    copyFileSync(pem().otherCert, join(caCertsDir, '0.pem'));
    const later = reload(1, changing);
    assert.notEqual(later, store);
    assert.deepEqual(anew(2, constant), []);
    writeFileSync(join(caCertsDir, '0.pem'), 'junk');
    assert.throws(() => reload(1, changing), { name: 'EndpointError' });
    const endLater = bench.hold(later);
    assert.ok(bench.references(later) > 1, 'the destination has it still');
    contexts.close(bench.service, 2);
    await bench.untilReferences(store, 1);
    contexts.close(bench.service, 1);
    await bench.untilReferences(later, 1);
    end();
    endLater();
  });

  test('listeners that ask for certificates of the same authorities have the same, for each of their names', async () => {
    const clientCA = pem().root;
    const open = (source: Partial<SslServer | TlsServer>) => {
      const endpoint = source as SslServer | TlsServer;
      return bench.service.openContext(endpoint, readServerParts(endpoint));
    };
    const [first, second, other] = [
      open(sslFrom(pem(), { clientCA })),
      open(tlsFrom(pem().pemDir, { clientCA, clientAuth: 'optional' })),
      open(sslFrom(pem(), { clientCA: pem().otherCert })),
    ];
    const store = bench.storeOf(first);
    assert.equal(bench.storeOf(second), store);
    assert.notEqual(bench.storeOf(other), store);
    const end = bench.hold(store);
    for (const context of [first, second, other]) bench.service.free(Number(context));
    await bench.untilReferences(store, 1);
    end();
  });

  test('with the handshakes of an engine its stores go', async () => {
    const own = new Bench();
    const context = own.open(sslTo(1, pem()));
    const store = own.storeOf(context);
    const end = own.hold(store);
    const references = own.references(store);
    await own.close();
    assert.equal(own.references(store), references - 1, 'all but what the SSL_CTX has');
    end();
  });
});

/** Where handshakes are made, with a look into libssl. */
class Bench {
  readonly #ssl = openSsl();
  readonly #calls = openFunctions({
    X509_STORE_up_ref: { args: ['word'], result: 'i32' },
    X509_STORE_get1_all_certs: { args: ['word'], result: 'u64' },
    OSSL_STACK_OF_X509_free: { args: ['word'], result: 'i32' },
    SSL_CTX_get_cert_store: { args: ['word'], result: 'u64' },
  }).functions;
  readonly library = { ssl: this.#ssl, crypto: openCrypto() };
  readonly #threads = new Threads({ count: 1, onReport: () => {}, onDeath: () => {} });
  readonly service = new HandshakeService({
    threads: this.#threads,
    tickets: new TicketRing(),
    onFlaw: (flaw) => assert.fail(flaw),
    onDeath: (_, error) => assert.fail(error),
  });
  readonly #at = this.#findReferences();
  lastOpened = 0n;

  /** A destination's SSL_CTX. */
  open(endpoint: SslClient | TlsClient): bigint {
    return (this.lastOpened = BigInt(this.service.openDestination(endpoint, readClientFiles(endpoint)).context));
  }

  storeOf(context: bigint): bigint {
    return this.#calls.SSL_CTX_get_cert_store(context);
  }

  /** A directory with these files of authorities. */
  directory(...files: string[]): string {
    const directory = mkdtempSync(join(pem().dir, 'trusted-'));
    files.forEach((file, index) => copyFileSync(file, join(directory, `${index}.pem`)));
    return directory;
  }

  certificates(store: bigint): number {
    const all = this.#calls.X509_STORE_get1_all_certs(store);
    const count = this.#ssl.OPENSSL_sk_num(all);
    this.#calls.OSSL_STACK_OF_X509_free(all);
    return count;
  }

  /** Have a store last until the returned function is called, and so what it says of its references be true. */
  hold(store: bigint): () => void {
    this.#calls.X509_STORE_up_ref(store);
    return () => void this.#ssl.X509_STORE_free(store);
  }

  /** How many there are of a store. */
  references(store: bigint): number {
    return this.#wordsOf(store)[this.#at]!;
  }

  /** Contexts are freed in a round of their thread after the one in which it hears that nobody needs them. */
  async untilReferences(store: bigint, count: number): Promise<void> {
    await until(
      () => `${this.references(store)} references instead of ${count}`,
      async () => {
        await this.service.settled();
        return this.references(store) <= count;
      },
      { limitMs: 20_000 },
    );
    assert.equal(this.references(store), count);
  }

  /** Where in a store the number of its references is: the one word that is a 1, and with another reference a 2. */
  #findReferences(): number {
    const store = this.#ssl.X509_STORE_new();
    const [one, two] = [0, 1].map((more) => {
      if (more > 0) this.#calls.X509_STORE_up_ref(store);
      return this.#wordsOf(store);
    });
    const found = [...one!.keys()].filter((at) => one![at] === 1 && two![at] === 2);
    for (let reference = 0; reference < 2; reference++) this.#ssl.X509_STORE_free(store);
    assert.equal(found.length, 1);
    return found[0]!;
  }

  #wordsOf(store: bigint): Int32Array {
    const { bytes, address } = this.library.crypto.pin(Number(this.#ssl.malloc_usable_size(store)) & -4);
    this.#ssl.memcpy(address, store, BigInt(bytes.length));
    return new Int32Array(bytes.buffer.slice(0));
  }

  async close(): Promise<void> {
    await this.service.close();
    await this.#threads.close();
  }
}
