/** Readers of what is said of TLS: cipher suites, groups, and where a pass phrase is. */
import { type Reader, refusal, type Value } from './arguments.ts';
import { nodeTls } from './node-tls.ts';
import { defaultCiphers } from './versions.ts';

/** Groups for the key exchange, as OpenSSL names them; of use in messages alone. */
const commonGroups: readonly string[] = ['X25519MLKEM768', 'X25519', 'P-256', 'P-384', 'P-521', 'X448'];

/**
 * Names of cipher suites as OpenSSL has them, or its expressions (`ECDHE+AESGCM`, `!AES256`), separated by
 * commas or (escaped) colons. TLS 1.3 has suites of its own, whose names begin with `TLS_`.
 */
export const ciphers: Reader<readonly string[]> = (value) => {
  const names = listed(value);
  const allowed = `(use OpenSSL's names, of ${defaultCiphers.join(', ')})`;
  for (const name of names) {
    if (!/^[!+-]?[A-Za-z0-9_+.-]+$/.test(name) || !isCipher(name.replace(/^[!+-]/, '')))
      throw refusal(value, `names ${JSON.stringify(name)}, which is no cipher suite ${allowed}`);
  }
  const tls12 = names.filter((name) => !name.startsWith('TLS_'));
  if (tls12.length > 0 && !takes({ ciphers: tls12.join(':') }))
    throw refusal(value, `leaves no cipher suite ${allowed}`);
  return names;
};

/** Groups for the key exchange as OpenSSL names them, most preferred first, separated by commas or (escaped) colons. */
export const groups: Reader<readonly string[]> = (value) => {
  const names = listed(value);
  for (const name of names) {
    if (!/^[A-Za-z0-9_-]+$/.test(name) || !takes({ ecdhCurve: name }))
      throw refusal(value, `names ${JSON.stringify(name)}, which is no group (use ${commonGroups.join(', ')})`);
  }
  return names;
};

/** `env:NAME` or `file:PATH`: where a pass phrase is. The phrase itself is no part of an endpoint. */
export const passphrase: Reader<string> = (value) => {
  const [, kind, rest = ''] = /^(env|file):(.*)$/s.exec(value.text) ?? [];
  // The phrase may be what was typed: it is not said again.
  const hidden = { ...value, text: '…' };
  if (kind === undefined)
    throw refusal(hidden, 'does not say where the pass phrase is (use env\\:NAME or file\\:PATH, the colon escaped)');
  if (kind === 'env' && !/^[A-Za-z_][A-Za-z0-9_]*$/.test(rest))
    throw refusal(hidden, 'is not the name of a variable (use env\\:NAME)');
  if (kind === 'file' && (rest === '' || rest.includes('\0'))) throw refusal(hidden, 'is not a path (use file\\:PATH)');
  return value.text;
};

function listed(value: Value): string[] {
  const names = value.text.split(/[,:]/);
  if (new Set(names).size < names.length) throw refusal(value, 'names one twice');
  return names;
}

function isCipher(name: string): boolean {
  return name.startsWith('TLS_') ? nodeTls().getCiphers().includes(name.toLowerCase()) : takes({ ciphers: name });
}

/** What Deno's TLS cannot choose is for whoever opens the endpoint to refuse. */
function takes(options: { ciphers?: string; ecdhCurve?: string }): boolean {
  if ('Deno' in globalThis) return true;
  try {
    nodeTls().createSecureContext(options);
    return true;
  } catch {
    return false;
  }
}
