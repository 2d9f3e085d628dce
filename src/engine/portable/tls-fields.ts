/** What a destination is told of the TLS of a client, as the runtime knows it. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { tlsFields } from '../proxy-fields.ts';
import type { ProxyField } from '../proxy-fields.ts';
import type { Leg } from './leg.ts';

/** Of a leg whose handshake is done; none of one without TLS. Deno knows less of it, which then is not told. */
export function fieldsOfTls(leg: Leg): ProxyField[] {
  const { socket, tls } = leg;
  if (!('getProtocol' in socket)) return [];
  const { getProtocol, getCipher, servername, alpnProtocol } = socket as Partial<TLSSocket>;
  return tlsFields({
    version: tls?.version ?? getProtocol?.call(socket) ?? '',
    cipher: getCipher?.call(socket)?.name,
    ...ownCertificate(socket as Partial<TLSSocket>),
    alpn: textOf(alpnProtocol),
    serverName: textOf(servername),
    clientName: tls?.clientName ?? null,
    isResumed: isResumed(leg),
  });
}

/** Whether the handshake of a leg went on with an earlier session; Deno does not know, and then it is said of none. */
export function isResumed({ socket, tls }: Leg): boolean {
  return tls?.isResumed ?? (socket as Partial<TLSSocket>).isSessionReused?.() === true;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** How the certificate that the client was shown is signed, and what its key is, in HAProxy's words. */
function ownCertificate(socket: Partial<TLSSocket>): { signature?: string | undefined; key?: string | undefined } {
  const certificate = socket.getX509Certificate?.();
  if (!certificate) return {};
  const { signatureAlgorithm } = certificate as X509Certificate & { signatureAlgorithm?: string };
  return { signature: shortSignature(signatureAlgorithm), key: keyOf(certificate) };
}

/** OpenSSL has a long name, `sha256WithRSAEncryption`, and a short one, `RSA-SHA256`, of what RSA signs. */
function shortSignature(name: string | undefined): string | undefined {
  const [, digest] = /^(.*)WithRSAEncryption$/.exec(name ?? '') ?? [];
  return digest === undefined ? name : `RSA-${digest.toUpperCase()}`;
}

function keyOf({ publicKey }: X509Certificate): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = publicKey;
  if (type === 'rsa' || type === 'rsa-pss') return `RSA${details?.modulusLength ?? ''}`;
  if (type === 'ec') return `EC${/[0-9]{3}/.exec(details?.namedCurve ?? '')?.[0] ?? ''}`;
  return type?.toUpperCase();
}
