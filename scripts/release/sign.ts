/** The keys of a release. They come from the environment and are nowhere in the tree. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';

export type SigningKey = { privateKey: KeyObject; publicPem: string };

/** An Ed25519 private key from PEM, or from the file of this name. */
export function readSigningKey(pemOrPath: string): SigningKey {
  const pem = pemOrPath.includes('-----BEGIN') ? pemOrPath : readFileSync(pemOrPath, 'utf8');
  const privateKey = createPrivateKey(pem);
  if (privateKey.asymmetricKeyType !== 'ed25519')
    throw new Error(`the signing key is ${privateKey.asymmetricKeyType}, and must be ed25519`);
  return { privateKey, publicPem: createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString() };
}

/** The signature as `openssl pkeyutl -verify -rawin` takes it: 64 bytes. */
export function signBytes(bytes: Buffer, { privateKey }: SigningKey): Buffer {
  return sign(null, bytes, privateKey);
}
