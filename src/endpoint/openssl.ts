/** What OpenSSL thinks of keys, certificates and parameters, before a listener or a client needs them. */
import { nodeTls } from './node-tls.ts';

/** What OpenSSL refuses, in people's words, and what to do. */
export type OpensslProblem = { reason: string; hint: string };

const hints: readonly [RegExp, string][] = [
  // Deno leaves out whose.
  [
    /(?<!dh )key too small/,
    'it takes RSA keys of 2048 bits or more, or EC keys on prime256v1: have a new certificate made',
  ],
  [
    /(ca|ee) md too weak|md too weak/,
    'it is signed with SHA-1 or MD5: have a new certificate made, signed with SHA-256',
  ],
  [
    /dh key too small|DH parameter is less|modulus too small/,
    'leave dhParameters out, or make new ones: openssl dhparam -out FILE 2048',
  ],
];

/** Whether OpenSSL takes a certificate with its chain and key; null when it does. */
export function checkIdentity({ key, cert }: { key: string; cert: string }): OpensslProblem | null {
  return problemWith({ key, cert }, 'have a new certificate made');
}

/** Whether OpenSSL takes Diffie-Hellman parameters; null when it does. */
export function checkDhParameters(dhparam: string): OpensslProblem | null {
  return problemWith({ dhparam }, 'leave dhParameters out, or make new ones: openssl dhparam -out FILE 2048');
}

function problemWith(
  options: { key?: string; cert?: string; dhparam?: string },
  otherwise: string,
): OpensslProblem | null {
  try {
    nodeTls().createSecureContext(options);
    return null;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // error:NUMBER:LIBRARY:FUNCTION:REASON
    const reason = message.startsWith('error:') ? (message.split(':')[4] ?? message) : message;
    return {
      reason: `OpenSSL refuses it: ${reason}`,
      hint: hints.find(([pattern]) => pattern.test(message))?.[1] ?? otherwise,
    };
  }
}
