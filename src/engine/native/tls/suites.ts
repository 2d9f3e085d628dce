/** The cipher suites whose records are ours: those of TLS 1.3, and of TLS 1.2 those with ephemeral keys and AEAD. */

/** How a cipher suite protects records. */
export type Suite = {
  /** As OpenSSL calls it. */
  readonly cipher: 'AES-128-GCM' | 'AES-256-GCM' | 'ChaCha20-Poly1305';
  /** Of the key derivation, with the size of what it gives. */
  readonly hash: 'SHA256' | 'SHA384';
  readonly hashSize: 32 | 48;
  readonly keySize: 16 | 32;
  /** GCM in TLS 1.2: eight bytes of the nonce are in the record (RFC 5288, section 3). */
  readonly isExplicit: boolean;
};

const aes128 = { cipher: 'AES-128-GCM', hash: 'SHA256', hashSize: 32, keySize: 16, isExplicit: false } as const;
const aes256 = { cipher: 'AES-256-GCM', hash: 'SHA384', hashSize: 48, keySize: 32, isExplicit: false } as const;
const chacha20 = { cipher: 'ChaCha20-Poly1305', hash: 'SHA256', hashSize: 32, keySize: 32, isExplicit: false } as const;

/** By their numbers (IANA, TLS Cipher Suites). */
export const SUITES: ReadonlyMap<number, Suite> = new Map<number, Suite>([
  [0x1301, aes128],
  [0x1302, aes256],
  [0x1303, chacha20],
  // TLS 1.2: ECDHE with ECDSA and with RSA, DHE with RSA.
  ...[0xc02b, 0xc02f, 0x009e].map((number) => [number, { ...aes128, isExplicit: true }] as const),
  ...[0xc02c, 0xc030, 0x009f].map((number) => [number, { ...aes256, isExplicit: true }] as const),
  ...[0xcca9, 0xcca8, 0xccaa].map((number) => [number, chacha20] as const),
]);
