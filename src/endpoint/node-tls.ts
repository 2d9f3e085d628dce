/**
 * Node's TLS and cryptography, loaded when a rule first needs them: node:tls makes the runtime read
 * the certificates of some 150 authorities, 2 MB that a daemon of plain rules has no use for.
 */
type Tls = typeof import('node:tls');
type Crypto = typeof import('node:crypto');

/** The module, loaded when first asked for. */
export function nodeTls(): Tls {
  return process.getBuiltinModule('node:tls');
}

/** The module, loaded when first asked for. */
export function nodeCrypto(): Crypto {
  return process.getBuiltinModule('node:crypto');
}
