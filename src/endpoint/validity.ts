/** When certificates are valid, and what is to be said of it. */
import type { X509Certificate } from 'node:crypto';
import type { Certificate } from './pem.ts';

/** Both in milliseconds of the clock. */
export type Validity = { fromMs: number; untilMs: number };

/** The time in which a certificate is valid, in milliseconds since 1970. */
export function validityOf({ validFrom, validTo }: X509Certificate): Validity {
  return { fromMs: Date.parse(validFrom), untilMs: Date.parse(validTo) };
}

/** Whether a certificate is valid at a time, both ends included (RFC 5280, section 4.1.2.5). */
export function isValidAt({ fromMs, untilMs }: Validity, nowMs: number): boolean {
  return fromMs <= nowMs && nowMs <= untilMs;
}

/** The one to present, or to build a chain with, comes first: a valid one, and of those the one that was issued last. */
export function byValidity(nowMs: number): (a: Validity, b: Validity) => number {
  return (a, b) =>
    Number(isValidAt(b, nowMs)) - Number(isValidAt(a, nowMs)) ||
    (isValidAt(a, nowMs) ? b.fromMs - a.fromMs : b.untilMs - a.untilMs);
}

/** What is to be said of a certificate, of whose file comes first; null when all is well: a third of its time is left. */
export function validityWarning({ x509 }: Certificate, nowMs: number = Date.now()): string | null {
  const { fromMs, untilMs } = validityOf(x509);
  const name = /^CN=(.*)$/m.exec(x509.subject)?.[1] ?? x509.subjectAltName ?? x509.serialNumber;
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  if (nowMs > untilMs) return `the certificate of ${name} expired on ${day(untilMs)}`;
  if (nowMs < fromMs) return `the certificate of ${name} is not yet valid, only from ${day(fromMs)} on`;
  if (untilMs - nowMs > (untilMs - fromMs) / 3) return null;
  return `the certificate of ${name} expires on ${day(untilMs)}`;
}

/** RSA keys up to this size are what authorities ask for; a signature takes a time that grows with the cube of the size. */
const usualRsaBits = 2048;

/** What is to be said of a key that makes each full handshake dear; null when it does not. */
export function costAdvice({ x509 }: Certificate): string | null {
  const { asymmetricKeyType: type, asymmetricKeyDetails } = x509.publicKey;
  const bits = asymmetricKeyDetails?.modulusLength ?? 0;
  if (type === undefined || !type.startsWith('rsa') || bits <= usualRsaBits) return null;
  return `its RSA key has ${bits} bits, which makes each full handshake expensive; 2048 bits, or EC on prime256v1, take a fraction of the processor's time`;
}

/** The curves of certificates that browsers and TLS libraries offer by default (RFC 8446, 9.1, and NIST's larger ones). */
const commonCurves: readonly (string | undefined)[] = ['prime256v1', 'secp384r1', 'secp521r1'];

/** What is to be said of a key that hardly any client can use; null when there are many. */
export function keyWarning({ x509 }: Certificate): string | null {
  const { asymmetricKeyType: type, asymmetricKeyDetails } = x509.publicKey;
  const curve = asymmetricKeyDetails?.namedCurve;
  if (type === 'ec' && !commonCurves.includes(curve))
    return `its key is on the curve ${curve}, which clients do not offer: nobody will connect; take prime256v1`;
  if (type === 'dsa')
    return 'its key is for DSA, which clients do not offer: nobody will connect; take an EC key on prime256v1';
  return null;
}

/**
 * Why a certificate should not take the place of one that is in use: it is not valid now, or none of those that are sent
 * with it has issued it. Null when it should.
 */
export function replacementProblem(
  [leaf, ...chain]: readonly Certificate[],
  nowMs: number = Date.now(),
): string | null {
  if (leaf === undefined) return null;
  if (!isValidAt(validityOf(leaf.x509), nowMs)) return validityWarning(leaf, nowMs);
  const isBroken = chain.length > 0 && !chain.some(({ x509 }) => leaf.x509.checkIssued(x509));
  return isBroken && !leaf.x509.checkIssued(leaf.x509)
    ? 'its chain has a gap: the certificate that issued the first one is not in it'
    : null;
}
