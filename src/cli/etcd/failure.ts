/** Why etcd could not be asked, in words for people. */
import { GraceError, errorCode, errorMessage } from '../../error.ts';
import { describeError } from '../../sys/system-error.ts';

/** What etcd itself says no with: a status of gRPC. */
export class EtcdRefusal extends GraceError {
  /** The status of gRPC: 7 permission denied, 16 unauthenticated. */
  readonly status: number;

  constructor(member: string, { status, text }: { status: number; text: string }) {
    super(`etcd at ${member} refuses: ${text.slice(0, 300)}`, { hint: hintForStatus(status, text) });
    this.status = status;
  }

  /** Whether it is for want of rights to a key. */
  get isDenied(): boolean {
    return this.status === 7;
  }
}

/** An error of a connection, as one for people. */
export function failureOfConnection(error: unknown, { member, isTls }: { member: string; isTls: boolean }): GraceError {
  if (error instanceof GraceError) return error;
  return new GraceError(`cannot reach etcd at ${member}: ${describeError(error)}`, {
    hint: hintForConnection(error, isTls),
    cause: error,
  });
}

/** What answers is no etcd that has the gateway. */
export function notEtcdError(member: string, what: string): GraceError {
  return new GraceError(`what answers at ${member} is not etcd 3.4 or later: ${what}`, {
    hint: "the address is that of etcd's clients (--listen-client-urls), whose gateway (--enable-grpc-gateway) is on unless it was turned off",
  });
}

function hintForStatus(status: number, text: string): string | undefined {
  if (status === 16 || /user name is empty|invalid auth token|authentication failed/i.test(text))
    return 'it wants a user: ?user=NAME&password=file:PATH; its gateway takes none from a client certificate';
  if (status === 7)
    return 'the user needs the right to read KEY and KEY/destinations/, with --report to write KEY/reports/';
  if (/authentication handshake failed|bad certificate/i.test(text))
    return "with --client-cert-auth etcd's own certificate must be good for clients too (extendedKeyUsage clientAuth): its gateway presents it";
  return undefined;
}

function hintForConnection(error: unknown, isTls: boolean): string | undefined {
  const [code = '', text] = [errorCode(error), errorMessage(error)];
  if (/wrong.version.number|packet length too long/i.test(`${code} ${text}`))
    return 'it does not seem to speak TLS: etcd://';
  if (isTls && /^(ECONNRESET|EPROTO|EPIPE)$/.test(code))
    return 'it may not speak TLS: etcd://, without cacert, cert, key, serverName and insecure, which mean TLS';
  if (!isTls && (code === 'ECONNRESET' || code.startsWith('HPE_'))) return 'it may want TLS: etcds://';
  if (/certificate.required|bad.certificate|handshake.failure|unknown.ca|certificate.unknown/i.test(`${code} ${text}`))
    return 'it may want a client certificate that it trusts: ?cert=FILE&key=FILE';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'if it is another name that is right: ?serverName=NAME';
  if (/CERT|ISSUER|SELF_SIGNED|SIGNATURE/.test(code) || /certificate/i.test(text))
    return 'the authority that signed its certificate: ?cacert=FILE';
  return undefined;
}
