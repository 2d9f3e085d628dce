/**
 * The authorities by which libssl verifies certificates, read once for all SSL_CTXs that trust the same: those of a system
 * take 7 ms and a megabyte each time.
 *
 * A store (X509_STORE) has certificates here and nothing else. What else a verification heeds (purpose, names, flags, depth) is
 * of the SSL_CTX or of the handshake, and must stay there: it would hold for everybody who trusts the same. A
 * store is complete before anybody has it, so threads only look things up in it, for which libssl has a lock in each.
 */
import { digestOf } from '../../text-digest.ts';
import { readCertificates } from './identity.ts';
import type { Library } from './identity.ts';

/** Authorities that are trusted. Who opened it closes it; an SSL_CTX that was given it has it for as long as it needs it. */
export type TrustStore = {
  /** Of an X509_STORE, for `SSL_CTX_set1_cert_store`. Nothing is to be set or added there. */
  readonly address: bigint;
  /** Of an X509 each, in their order, until it is closed. */
  readonly certificates: readonly bigint[];
  close(): void;
};

type Entry = { readonly address: bigint; readonly certificates: readonly bigint[]; users: number };

/** Those of an engine. */
export class TrustStores {
  readonly #library: Library;
  /** By what they were read from. One without users is forgotten: whether an SSL_CTX has it still is not known here. */
  readonly #entries = new Map<string, Entry>();

  constructor(library: Library) {
    this.#library = library;
  }

  /** Trust these authorities, each text PEM of one or several. What is no certificate in them is passed over. */
  open(authorities: readonly string[]): TrustStore {
    const digest = digestOf(authorities);
    const entry = this.#entries.get(digest) ?? { ...this.#read(authorities), users: 0 };
    this.#entries.set(digest, entry);
    entry.users++;
    let isOpen = true;
    return {
      address: entry.address,
      certificates: entry.certificates,
      close: () => {
        if (!isOpen) return;
        isOpen = false;
        if (--entry.users > 0) return;
        this.#entries.delete(digest);
        const { ssl } = this.#library;
        ssl.X509_STORE_free(entry.address);
        for (const certificate of entry.certificates) ssl.X509_free(certificate);
      },
    };
  }

  #read(authorities: readonly string[]): Pick<Entry, 'address' | 'certificates'> {
    const { ssl } = this.#library;
    const store = ssl.X509_STORE_new();
    if (store === 0n) throw new Error('libssl has no memory for authorities');
    const certificates: bigint[] = [];
    for (const authority of authorities)
      readCertificates(this.#library, authority, (certificate) => {
        ssl.X509_STORE_add_cert(store, certificate); // the store has it from then on, too
        certificates.push(certificate);
      });
    return { address: store, certificates };
  }
}
