/** Key exchanges and cipher suites of TLS by their numbers. */

/** Names of IANA's registry "TLS Supported Groups". */
const GROUPS: Readonly<Record<number, string>> = {
  0x0017: 'secp256r1',
  0x0018: 'secp384r1',
  0x0019: 'secp521r1',
  0x001d: 'X25519',
  0x001e: 'X448',
  0x0100: 'ffdhe2048',
  0x0101: 'ffdhe3072',
  0x0102: 'ffdhe4096',
  0x0103: 'ffdhe6144',
  0x0104: 'ffdhe8192',
  0x0200: 'MLKEM512',
  0x0201: 'MLKEM768',
  0x0202: 'MLKEM1024',
  0x11eb: 'SecP256r1MLKEM768',
  0x11ec: 'X25519MLKEM768',
  0x11ed: 'SecP384r1MLKEM1024',
};

/** The name of a key exchange; null for 0, where there is none. */
export function nameOfGroup(group: number): string | null {
  if (group === 0) return null;
  return GROUPS[group] ?? `0x${group.toString(16).padStart(4, '0')}`;
}

/** OpenSSL's numbers of the groups that have one of its own (obj_mac.h). */
const NIDS: Readonly<Record<number, number>> = {
  415: 0x0017,
  715: 0x0018,
  716: 0x0019,
  1034: 0x001d,
  1035: 0x001e,
  1126: 0x0100,
  1127: 0x0101,
  1128: 0x0102,
};
/** What marks a number of IANA among them: `TLSEXT_nid_unknown`. */
const IS_IANA = 0x1000000;

/** IANA's number of a group by OpenSSL's; 0 where it is not known. */
export function groupOfNid(nid: number): number {
  return (nid & ~0xffff) === IS_IANA ? nid & 0xffff : (NIDS[nid] ?? 0);
}

const CIPHERS: Readonly<Record<number, string>> = {
  0x1301: 'TLS_AES_128_GCM_SHA256',
  0x1302: 'TLS_AES_256_GCM_SHA384',
  0x1303: 'TLS_CHACHA20_POLY1305_SHA256',
  0xc02b: 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
  0xc02c: 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384',
  0xc02f: 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
  0xc030: 'TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384',
  0xcca9: 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256',
  0xcca8: 'TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256',
  0x009e: 'TLS_DHE_RSA_WITH_AES_128_GCM_SHA256',
  0x009f: 'TLS_DHE_RSA_WITH_AES_256_GCM_SHA384',
  0xccaa: 'TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256',
};

/** OpenSSL's name of a cipher suite by that of IANA, of those that are ours: suites of TLS 1.3 have but one. */
export function opensslNameOf(cipher: string): string {
  if (!cipher.includes('_WITH_')) return cipher;
  const short = cipher
    .replace('TLS_', '')
    .replace('WITH_', '')
    .replace('CHACHA20_POLY1305_SHA256', 'CHACHA20_POLY1305');
  return short.replace('AES_', 'AES').replaceAll('_', '-');
}

/** IANA's name of a cipher suite; its number for one that is not ours. */
export function nameOfCipher(suite: number): string {
  return CIPHERS[suite] ?? `0x${suite.toString(16).padStart(4, '0')}`;
}

/** OpenSSL's short names of signatures by its numbers (obj_mac.h), of those that certificates have. */
const SIGNATURES: Readonly<Record<number, string>> = {
  65: 'RSA-SHA1',
  416: 'ecdsa-with-SHA1',
  668: 'RSA-SHA256',
  669: 'RSA-SHA384',
  670: 'RSA-SHA512',
  794: 'ecdsa-with-SHA256',
  795: 'ecdsa-with-SHA384',
  796: 'ecdsa-with-SHA512',
  912: 'RSASSA-PSS',
  1087: 'ED25519',
  1088: 'ED448',
};

/** How a certificate is signed, by OpenSSL's number; undefined where it is not known. */
export function nameOfSignature(nid: number): string | undefined {
  return SIGNATURES[nid];
}

/** The kinds of keys, by the same numbers. */
const KEYS: Readonly<Record<number, string>> = { 6: 'RSA', 408: 'EC', 912: 'RSA', 1087: 'ED25519', 1088: 'ED448' };

/** The key of a certificate in HAProxy's words, as in `RSA2048` and `EC256`; undefined where it is not known. */
export function nameOfKey(nid: number, bits: number): string | undefined {
  const name = KEYS[nid];
  return name === 'RSA' || name === 'EC' ? `${name}${bits}` : name;
}
