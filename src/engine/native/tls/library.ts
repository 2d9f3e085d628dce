/**
 * What of libcrypto the record layer calls, and the memory that it is given. OpenSSL is in the executable
 * of Node; Deno has none, and leaves TLS to the portable engine.
 *
 * Every argument is a word, so that compiled code calls the functions directly (see sys/library.ts); addresses
 * are taken once, of memory that is reachable for as long as they are used: a buffer that only its address
 * refers to is collected, and what is done with it then is wrong without an error.
 */
import { openFunctions } from '../../../sys/library.ts';

const w1 = ['word'] as const;
const w3 = ['word', 'word', 'word'] as const;
const w4 = ['word', 'word', 'word', 'word'] as const;
const w5 = ['word', 'word', 'word', 'word', 'word'] as const;
const w6 = ['word', 'word', 'word', 'word', 'word', 'word'] as const;

const table = {
  EVP_CIPHER_fetch: { args: w3, result: 'u64' },
  EVP_CIPHER_CTX_new: { args: [], result: 'u64' },
  EVP_CIPHER_CTX_free: { args: w1, result: 'i32' },
  EVP_CIPHER_CTX_ctrl: { args: w4, result: 'i32' },
  EVP_CipherInit_ex: { args: w6, result: 'i32' },
  EVP_EncryptUpdate: { args: w5, result: 'i32' },
  EVP_EncryptFinal_ex: { args: w3, result: 'i32' },
  EVP_DecryptUpdate: { args: w5, result: 'i32' },
  EVP_DecryptFinal_ex: { args: w3, result: 'i32' },
  EVP_MAC_fetch: { args: w3, result: 'u64' },
  EVP_MAC_CTX_new: { args: w1, result: 'u64' },
  EVP_MAC_CTX_free: { args: w1, result: 'i32' },
  EVP_MAC_init: { args: w4, result: 'i32' },
  EVP_MAC_update: { args: w3, result: 'i32' },
  EVP_MAC_final: { args: w4, result: 'i32' },
  ERR_clear_error: { args: [], result: 'i32' },
} as const;

/** Bytes at a fixed address, which hold for as long as this object is reachable. */
export type Pinned = { readonly bytes: Uint8Array; readonly address: bigint };

/** libcrypto, as the calling thread has it. */
export type Crypto = ReturnType<typeof openCrypto>;

/** Bind what the record layer needs, for the calling thread. Throws where the runtime has no OpenSSL that can be called. */
export function openCrypto() {
  const { functions, memory } = openFunctions(table);
  const kept = new Map<string, Pinned>();
  const pinned = (bytes: Uint8Array): Pinned => ({ bytes, address: memory.addressOf(bytes) });
  return {
    functions,
    /** The address of memory that is somebody else's, over an array buffer of its own that is never resized. */
    pinned,
    /** New memory, zeroed. */
    pin: (size: number): Pinned => pinned(new Uint8Array(new ArrayBuffer(size))),
    /** The address of a constant string, which is kept. */
    text(text: string): bigint {
      let own = kept.get(text);
      if (own === undefined) {
        own = pinned(new Uint8Array(new ArrayBuffer(text.length + 1)));
        own.bytes.set(Buffer.from(text));
        kept.set(text, own);
      }
      return own.address;
    },
    /** Forget the errors of calls that were expected to fail: their queue is the thread's. */
    forgetErrors: () => void functions.ERR_clear_error(),
  };
}

/** So dense that it is an array: with a few large ones it would be a hash table. */
const words: readonly bigint[] = Array.from({ length: 2048 }, (_, number) => BigInt(number));

/** A length or an offset as the calls take it; those of small records without an allocation. */
export function word(number: number): bigint {
  return words[number] ?? BigInt(number);
}
