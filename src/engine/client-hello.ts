/** What a TLS client says first: RFC 8446, section 4.1.2, in records of section 5.1. */

/** What of a ClientHello decides which certificate its client can use, or where it goes. */
export type ClientHello = {
  /** The name that it asks for (RFC 6066, section 3), in lower case and without a dot at its end; null: none, or what is no name. */
  serverName: string | null;
  /** The protocols that it offers (RFC 7301), preferred first. */
  protocols: readonly string[];
  cipherSuites: readonly number[];
  /** SignatureScheme values, most preferred first; null when the client names none. */
  signatureSchemes: readonly number[] | null;
  /** Whether it offers TLS 1.3. */
  offersTls13: boolean;
};

/** Longest ClientHello that is waited for, in bytes; OpenSSL takes no longer one. */
export const MAX_HELLO_BYTES = 131_396;

const RECORD_HEADER_SIZE = 5;
const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const SIGNATURE_ALGORITHMS = 13;
const PROTOCOLS = 16;
const SUPPORTED_VERSIONS = 43;
const TLS13 = 0x0304;

/** Read the beginning of what a client sent: null when it is no ClientHello, `more` when it goes on. */
export function readClientHello(bytes: Buffer): ClientHello | 'more' | null {
  return new ClientHelloReader().add(bytes);
}

/** Reads what a client sends as it comes. Each byte is looked at once, however few come together. */
export class ClientHelloReader {
  /** Of the record that has begun. */
  #header: number[] = [];
  /** Bytes of the record that are yet to come. */
  #left = 0;
  #message: Buffer = Buffer.alloc(0);
  #length = 0;
  #total = 0;

  /** What is known with these bytes, which come behind those of before: as {@link readClientHello}. Nothing more may be added when that is not `more`. */
  add(bytes: Buffer): ClientHello | 'more' | null {
    for (let at = 0; at < bytes.length;) {
      if (this.#total > MAX_HELLO_BYTES) return null;
      if (this.#left === 0) {
        if (this.#header.length === 0 && bytes[at] !== HANDSHAKE_RECORD) return null;
        this.#header.push(bytes[at++]!);
        this.#total++;
        if (this.#header.length < RECORD_HEADER_SIZE) continue;
        this.#left = (this.#header[3]! << 8) | this.#header[4]!;
        this.#header.length = 0;
        continue;
      }
      const taken = Math.min(this.#left, bytes.length - at, MAX_HELLO_BYTES + 1 - this.#total);
      this.#take(bytes.subarray(at, at + taken));
      at += taken;
      const found = this.#found();
      if (found !== 'more') return found;
    }
    return this.#total > MAX_HELLO_BYTES ? null : 'more';
  }

  /** So many bytes more are needed at least. */
  get wanted(): number {
    if (this.#length < 4) return 1;
    return Math.max(1, 4 + this.#message.readUIntBE(1, 3) - this.#length);
  }

  #take(part: Buffer): void {
    this.#left -= part.length;
    this.#total += part.length;
    if (this.#length + part.length > this.#message.length)
      this.#message = Buffer.concat([this.#message], 2 * (this.#length + part.length));
    part.copy(this.#message, this.#length);
    this.#length += part.length;
  }

  #found(): ClientHello | 'more' | null {
    if (this.#length < 4) return 'more';
    if (this.#message[0] !== CLIENT_HELLO) return null;
    const length = this.#message.readUIntBE(1, 3);
    if (length > MAX_HELLO_BYTES) return null;
    if (this.#length < 4 + length) return 'more';
    try {
      return readBody(new Reader(this.#message.subarray(4, 4 + length)));
    } catch (error) {
      if (error instanceof RangeError) return null;
      throw error;
    }
  }
}

function readBody(body: Reader): ClientHello {
  body.skip(2 + 32); // legacy_version, random
  body.skip(body.number(1)); // legacy_session_id
  const cipherSuites = body.vector(2).numbers();
  body.skip(body.number(1)); // legacy_compression_methods
  const hello = {
    serverName: null as string | null,
    protocols: [] as string[],
    cipherSuites,
    signatureSchemes: null as number[] | null,
    offersTls13: false,
  };
  if (body.isAtEnd) return hello;
  const extensions = body.vector(2);
  while (!extensions.isAtEnd) {
    const type = extensions.number(2);
    const data = extensions.vector(2);
    if (type === SERVER_NAME) hello.serverName ??= readServerName(data);
    if (type === PROTOCOLS) hello.protocols = readProtocols(data);
    if (type === SIGNATURE_ALGORITHMS) hello.signatureSchemes = data.vector(2).numbers();
    if (type === SUPPORTED_VERSIONS) hello.offersTls13 = data.vector(1).numbers().includes(TLS13);
  }
  return hello;
}

function readServerName(data: Reader): string | null {
  const list = data.vector(2);
  while (!list.isAtEnd) {
    const type = list.number(1);
    const name = list.vector(2).text();
    if (type === HOST_NAME) return hostName(name);
  }
  return null;
}

/** Null for what is no name: nobody has a certificate for it. */
function hostName(text: string): string | null {
  const name = text.toLowerCase().replace(/\.$/, '');
  return name.length <= 253 && /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(name) ? name : null;
}

function readProtocols(data: Reader): string[] {
  const list = data.vector(2);
  const protocols: string[] = [];
  while (!list.isAtEnd) protocols.push(list.vector(1).text());
  return protocols;
}

/** Takes numbers and vectors off bytes; throws RangeError where they end. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  skip(length: number): void {
    if (this.#at + length > this.#bytes.length) throw new RangeError('it ends early');
    this.#at += length;
  }

  number(size: 1 | 2): number {
    const at = this.#at;
    this.skip(size);
    return this.#bytes.readUIntBE(at, size);
  }

  /** What a length of so many bytes stands before. */
  vector(sizeOfLength: 1 | 2): Reader {
    const length = this.number(sizeOfLength);
    const at = this.#at;
    this.skip(length);
    return new Reader(this.#bytes.subarray(at, at + length));
  }

  /** The rest as text; bytes beyond ASCII are one character each. */
  text(): string {
    return this.#bytes.toString('latin1', this.#at);
  }

  /** The rest as 16-bit numbers. */
  numbers(): number[] {
    const numbers: number[] = [];
    while (!this.isAtEnd) numbers.push(this.number(2));
    return numbers;
  }
}

/** The suites of TLS 1.2 that servers here offer (versions.ts), by the kind of key that they need. */
const SUITES_OF_TLS12: Readonly<Record<string, readonly number[]>> = {
  ec: [0xc02b, 0xc02c, 0xcca9],
  rsa: [0xc02f, 0xc030, 0xcca8, 0x009e, 0x009f, 0xccaa],
};

/** SignatureScheme values of RFC 8446, section 4.2.3, by the kind of key; those for TLS 1.2 alone apart. */
const SCHEMES: Readonly<Record<string, readonly number[]>> = {
  ec: [0x0403, 0x0503, 0x0603],
  rsa: [0x0804, 0x0805, 0x0806],
  'rsa-pss': [0x0809, 0x080a, 0x080b],
  ed25519: [0x0807],
  ed448: [0x0808],
};
const SCHEMES_OF_TLS12: Readonly<Record<string, readonly number[]>> = {
  ec: [0x0203],
  rsa: [0x0401, 0x0501, 0x0601, 0x0201],
};

/** Kinds of keys as node:crypto names them, the cheapest for the server first. */
export const KEY_TYPES: readonly string[] = ['ec', 'ed25519', 'ed448', 'rsa', 'rsa-pss'];

/** The kinds of keys whose certificates a client can use, the cheapest first. */
export function usableKeyTypes({ cipherSuites, signatureSchemes, offersTls13 }: ClientHello): string[] {
  const has = (schemes: readonly number[] = []) => schemes.some((scheme) => signatureSchemes?.includes(scheme));
  return KEY_TYPES.filter((type) => {
    if (offersTls13) return has(SCHEMES[type]);
    // Ed25519 and Ed448 go with the suites for ECDSA (RFC 8422, section 5.1.1).
    const suites = SUITES_OF_TLS12[type.startsWith('rsa') ? 'rsa' : 'ec']!;
    if (!suites.some((suite) => cipherSuites.includes(suite))) return false;
    // One that names none has SHA-1 with whatever key its suites need (RFC 5246, section 7.4.1.4.1).
    return signatureSchemes === null ? type in SUITES_OF_TLS12 : has(SCHEMES[type]) || has(SCHEMES_OF_TLS12[type]);
  });
}
