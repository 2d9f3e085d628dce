import type { KeyObject, X509Certificate } from 'node:crypto';
import { nodeCrypto } from './node-tls.ts';

/** One part of a PEM text, from its BEGIN line to its END line (RFC 7468). */
export type PemBlock = { label: string; text: string };

/** The blocks of a text, in their order; what stands between them is passed over. */
export function pemBlocks(text: string): PemBlock[] {
  const blocks = text.matchAll(/-----BEGIN ([A-Z0-9. ]+)-----\s[^]*?-----END \1-----/g);
  return Array.from(blocks, ([block, label = '']) => ({ label, text: `${block}\n` }));
}

/** The certificates of a PEM text, in order, each as PEM; they need not be readable. */
export function certificateBlocks(text: string): string[] {
  const labels = ['CERTIFICATE', 'X509 CERTIFICATE', 'TRUSTED CERTIFICATE'];
  return pemBlocks(text)
    .filter(({ label }) => labels.includes(label))
    .map((block) => block.text);
}

/** The first private key of a PEM text, and whether a pass phrase protects it; undefined when it has none. */
export function privateKeyBlock(text: string): { text: string; isEncrypted: boolean } | undefined {
  const block = pemBlocks(text).find(({ label }) => label.endsWith('PRIVATE KEY'));
  if (block === undefined) return undefined;
  // The second is how OpenSSL marked it before PKCS #8 (RFC 1421).
  const isEncrypted = block.label === 'ENCRYPTED PRIVATE KEY' || /^Proc-Type:.*ENCRYPTED/m.test(block.text);
  return { text: block.text, isEncrypted };
}

/** A certificate together with its PEM. Throws what the runtime throws when it is damaged. */
export type Certificate = { pem: string; x509: X509Certificate };

/** Throws what OpenSSL says of a certificate that it cannot read. */
export function readCertificate(pem: string): Certificate {
  return { pem, x509: new (nodeCrypto().X509Certificate)(pem) };
}

/** The same public key gives the same text, whatever it was read from. */
export function publicKeyId(key: KeyObject): string {
  const publicKey = key.type === 'private' ? nodeCrypto().createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
}

/** Throws what OpenSSL says of a key that it cannot read, an encrypted one included. */
export function readPrivateKey(pem: string): KeyObject {
  return nodeCrypto().createPrivateKey(pem);
}

/** Without repetitions of the same certificate; the first one of each stays. */
export function distinct<Each extends Certificate>(certificates: readonly Each[]): Each[] {
  const seen = new Set<string>();
  return certificates.filter(({ x509 }) => {
    const isNew = !seen.has(x509.fingerprint256);
    seen.add(x509.fingerprint256);
    return isNew;
  });
}
