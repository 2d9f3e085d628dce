/** Private keys that a pass phrase protects. The phrase is read when it is needed, and neither kept nor told to anybody. */
import { errorMessage } from '../error.ts';
import { EndpointError } from './error.ts';
import { fileError, type NamedFile, readText } from './named-file.ts';
import { nodeCrypto } from './node-tls.ts';

/** The key without protection. Throws EndpointError that names the key's file, or where the phrase should be. */
export function openKey(file: NamedFile, pem: string, where: string | undefined): string {
  if (where === undefined)
    throw fileError(file, 'the private key is encrypted', {
      hint: 'say where its pass phrase is: passphrase=file\\:PATH or passphrase=env\\:NAME',
    });
  const passphrase = readPassphrase(where, file.text);
  try {
    return nodeCrypto().createPrivateKey({ key: pem, passphrase }).export({ type: 'pkcs8', format: 'pem' }).toString();
  } catch (error) {
    const isUnknown = /unsupported|unknown/i.test(errorMessage(error));
    throw fileError(
      file,
      isUnknown ? 'it is encrypted in a way that is not known here' : 'the pass phrase is not its',
      {
        hint: isUnknown ? 'openssl pkey -aes256 -in FILE -out NEWFILE encrypts it anew' : undefined,
        cause: error,
      },
    );
  }
}

/** `text` is the endpoint, for messages. */
function readPassphrase(where: string, text: string): string {
  const [, kind, rest = ''] = /^(env|file):(.*)$/s.exec(where) ?? [];
  if (kind === 'file') {
    const file = { parameter: 'passphrase', path: rest, text };
    const phrase = readText(file).replace(/\r?\n$/, '');
    if (phrase === '') throw fileError(file, 'no pass phrase in it');
    return phrase;
  }
  const phrase = process.env[rest];
  if (phrase === undefined || phrase === '')
    throw new EndpointError(`passphrase env:${rest}: the daemon's environment has no such variable`, {
      text,
      hint: 'set it where the daemon is started, or put the phrase into a file: passphrase=file\\:PATH',
    });
  return phrase;
}
