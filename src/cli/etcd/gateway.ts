/** The JSON gateway of etcd: one member over HTTP/1.1, everything bounded in time and bytes. */
import * as http from 'node:http';
import * as https from 'node:https';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostPort } from '../../endpoint/address.ts';
import { GraceError } from '../../error.ts';
import { readRegularFile } from '../../sys/regular-file.ts';
import { describeError } from '../../sys/system-error.ts';
import { TimeLimit } from '../../waiting.ts';
import type { EtcdAddress, EtcdTls } from './address.ts';
import { EtcdRefusal, failureOfConnection, notEtcdError } from './failure.ts';

/** For the whole of an answer, in milliseconds; of one that goes on, until it begins. */
const answerTimeoutMs = 5000;

/** Longest answer, and longest line of one that goes on, in bytes: etcd takes 1.5 MB at once, of which base64 makes 2. */
const maxAnswer = 8 * 1024 * 1024;

/** Where requests go, and by what. */
type Way = { host: string; port: number; secure: https.AgentOptions | null; headers: Record<string, string> };

/** Which member is asked, and how long. */
export type OpenOptions = {
  /** Counted on: after the last member comes the first. */
  index: number;
  /** Ends everything. */
  signal: AbortSignal;
  env: Readonly<Record<string, string | undefined>>;
};

/** One member of an etcd. Its errors are GraceErrors that name it. */
export class Gateway implements Disposable {
  /** As people write it. */
  readonly member: string;
  readonly #way: Way;
  readonly #agent: http.Agent;
  readonly #signal: AbortSignal;

  private constructor(way: Way, signal: AbortSignal) {
    this.#way = way;
    this.member = hostPort(way);
    this.#signal = signal;
    this.#agent = way.secure
      ? new https.Agent({ ...way.secure, keepAlive: true })
      : new http.Agent({ keepAlive: true });
  }

  /** Reads the files of certificates anew, and logs in where a user is named. */
  static async open(address: EtcdAddress, { index, signal, env }: OpenOptions): Promise<Gateway> {
    const member = address.members[index % address.members.length]!;
    const secure = address.tls && secureOptions(address.tls, member.host);
    const gateway = new Gateway({ ...member, secure, headers: {} }, signal);
    try {
      if (address.user) await gateway.#logIn(address.user.name, secretOf(address.user.password, env));
      return gateway;
    } catch (error) {
      gateway[Symbol.dispose]();
      throw error;
    }
  }

  async #logIn(name: string, password: string): Promise<void> {
    const { token } = (await this.ask('/v3/auth/authenticate', { name, password })) as { token?: unknown };
    if (typeof token === 'string') this.#way.headers['authorization'] = token;
  }

  /** One question, one answer. */
  async ask(path: string, question: object): Promise<unknown> {
    using limit = new TimeLimit(answerTimeoutMs, this.#lateError());
    const response = await this.#post(path, [question], limit.signal);
    try {
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > maxAnswer) throw this.#longError();
        chunks.push(chunk);
      }
      const text = Buffer.concat(chunks).toString('utf8');
      return this.#read(response, text);
    } catch (error) {
      throw this.#failure(error, limit.signal);
    } finally {
      response.destroy();
    }
  }

  /** Questions whose answer goes on, an object a line; it ends by an error, or when the other side ends it. */
  async *follow(path: string, questions: readonly object[]): AsyncGenerator<unknown> {
    using limit = new TimeLimit(answerTimeoutMs, this.#lateError());
    const response = await this.#post(path, questions, limit.signal);
    limit.clear();
    try {
      let rest = '';
      for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
        rest += chunk;
        if (!chunk.includes('\n')) {
          if (rest.length > maxAnswer) throw this.#longError();
          continue;
        }
        const lines = rest.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line.trim() !== '') yield this.#read(response, line);
      }
      if (rest.trim() !== '') this.#read(response, rest); // an error without the end of its line
    } catch (error) {
      throw this.#failure(error, limit.signal);
    } finally {
      response.destroy();
    }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  #post(path: string, questions: readonly object[], limit: AbortSignal): Promise<IncomingMessage> {
    const { host, port, secure, headers } = this.#way;
    const body = questions.map((question) => JSON.stringify(question)).join('\n');
    const signal = AbortSignal.any([limit, this.#signal]);
    return new Promise((resolve, reject) => {
      const request = (secure ? https : http).request(
        {
          ...secure,
          host,
          port,
          path,
          method: 'POST',
          agent: this.#agent,
          signal,
          headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        },
        resolve,
      );
      request.on('error', (error) => reject(this.#failure(error, signal)));
      request.end(body);
    });
  }

  /** What the text says, unless that is an error. */
  #read({ statusCode = 0 }: IncomingMessage, text: string): unknown {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw notEtcdError(this.member, `HTTP ${statusCode}, ${JSON.stringify(text.trim().slice(0, 60))}`);
    }
    if (typeof value !== 'object' || value === null) throw notEtcdError(this.member, `HTTP ${statusCode}`);
    if ('error' in value) throw this.#refusal(value.error, 'code' in value ? value.code : undefined);
    if (statusCode !== 200) throw notEtcdError(this.member, `HTTP ${statusCode}`);
    return value;
  }

  /** A text with its code beside it; in what goes on, an object. */
  #refusal(error: unknown, code: unknown): GraceError {
    const { message, grpc_code: inner } = (typeof error === 'object' && error !== null ? error : {}) as {
      message?: unknown;
      grpc_code?: unknown;
    };
    return new EtcdRefusal(this.member, { status: Number(inner ?? code ?? 2), text: String(message ?? error) });
  }

  #failure(error: unknown, signal: AbortSignal): unknown {
    if (this.#signal.aborted) return this.#signal.reason;
    if (signal.aborted) return signal.reason;
    return failureOfConnection(error, { member: this.member, isTls: this.#way.secure !== null });
  }

  #lateError(): GraceError {
    return new GraceError(`etcd at ${this.member} does not answer within ${answerTimeoutMs / 1000} s`);
  }

  #longError(): GraceError {
    return new GraceError(`etcd at ${this.member} answers with more than ${maxAnswer / 1024 / 1024} MiB`);
  }
}

function secureOptions({ cacert, cert, key, serverName, insecure }: EtcdTls, host: string): https.AgentOptions {
  return {
    ...(cacert !== undefined && { ca: readPem(cacert, 'cacert') }),
    ...(cert !== undefined && { cert: readPem(cert, 'cert') }),
    ...(key !== undefined && { key: readPem(key, 'key') }),
    // An address is no name that could be sent; the certificate is checked for it all the same.
    ...(serverName !== undefined ? { servername: serverName } : isIP(host) === 0 ? { servername: host } : {}),
    rejectUnauthorized: !insecure,
  };
}

function readPem(path: string, parameter: string): string {
  try {
    return readRegularFile(path);
  } catch (error) {
    throw new GraceError(`cannot read ${parameter} ${path}: ${describeError(error)}`, {
      code: 'ERR_GRACE_USAGE',
      cause: error,
    });
  }
}

function secretOf(where: string, env: OpenOptions['env']): string {
  const [kind, rest] = [where.slice(0, where.indexOf(':')), where.slice(where.indexOf(':') + 1)];
  if (kind === 'file') return readPem(rest, 'password').replace(/\r?\n$/, '');
  const secret = env[rest];
  if (!secret)
    throw new GraceError(`password env:${rest}: the environment has no such variable`, { code: 'ERR_GRACE_USAGE' });
  return secret;
}
