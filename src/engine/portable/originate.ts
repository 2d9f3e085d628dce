/** TLS towards a destination: who it must be, whom we trust, and who we are. The mirror image of terminate.ts. */
import type { ConnectionOptions } from 'node:tls';
import type { SslClient, TlsClient } from '../../endpoint/model.ts';
import { nodeTls } from '../../endpoint/node-tls.ts';
import { serverNameOf } from '../../endpoint/server-name.ts';
import { errorCode, errorMessage, GraceError } from '../../error.ts';
import { TLS_FAILURE } from '../closing-reason.ts';
import {
  CLOSED_IN_HANDSHAKE,
  describeHandshakeFailure,
  describeMisnamed,
  describeUntrusted,
  NAME_HINT,
  TRUST_HINT,
} from '../words.ts';
import { openGate } from './gate.ts';
import { destroyLeg, ignoreError } from './leg.ts';
import type { Leg } from './leg.ts';
import type { UpstreamContexts } from './upstream-contexts.ts';

/**
 * Make a connected leg a TLS one. Takes the leg over: it is closed when this rejects, with GraceError
 * or with the signal's reason.
 */
export type TlsClientStart = (inner: Leg, signal: AbortSignal) => Promise<Leg>;

/** Read the certificates of an endpoint. Throws GraceError when one is missing or unusable. */
export function openTlsClient(
  endpoint: SslClient | TlsClient,
  contexts: Pick<UpstreamContexts, 'open'>,
): TlsClientStart {
  const { checked, sent } = serverNameOf(endpoint);
  const contextNow = contexts.open(endpoint);
  const options: ConnectionOptions = {
    servername: sent ?? '',
    checkServerIdentity: (_, certificate) => nodeTls().checkServerIdentity(checked, certificate),
    rejectUnauthorized: endpoint.insecure !== true,
    ...(endpoint.alpn === undefined ? {} : { ALPNProtocols: [...endpoint.alpn] }),
  };
  const seesTruncation = endpoint.truncation !== undefined;
  return (inner, signal) =>
    startTls(inner, { options: { ...options, secureContext: contextNow() }, checked, seesTruncation, signal });
}

function startTls(
  inner: Leg,
  {
    options,
    checked,
    seesTruncation,
    signal,
  }: { options: ConnectionOptions; checked: string; seesTruncation: boolean; signal: AbortSignal },
): Promise<Leg> {
  return new Promise((resolve, reject) => {
    const { stream, gate } = openGate(inner, { seesTruncation });
    const socket = nodeTls().connect({ ...options, socket: stream });
    gate?.carries?.(socket);
    const settle = () => {
      signal.removeEventListener('abort', abort);
      socket.off('error', fail).off('close', close);
    };
    const drop = (reason: unknown) => {
      settle();
      destroyLeg({ ...inner, socket });
      reject(reason);
    };
    const abort = () => drop(signal.reason);
    const fail = (error: Error) => drop(tlsError(error, checked));
    const close = () => drop(new GraceError(CLOSED_IN_HANDSHAKE, { code: TLS_FAILURE }));
    socket.on('error', ignoreError);
    socket.once('error', fail).once('close', close);
    signal.addEventListener('abort', abort);
    socket.once('secureConnect', () => {
      settle();
      // Whatever comes from now on waits for the relay.
      gate?.pause();
      resolve({ ...inner, socket, gate });
    });
    if (signal.aborted) abort();
  });
}

function tlsError(error: Error, name: string): GraceError {
  const code = errorCode(error) ?? '';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new GraceError(describeMisnamed(name), {
      hint: NAME_HINT,
      code: TLS_FAILURE,
      cause: error,
    });
  }
  if (isCertificateCode(code)) {
    const [what = ''] = errorMessage(error).split(';');
    return new GraceError(describeUntrusted(what, code), {
      hint: TRUST_HINT,
      code: TLS_FAILURE,
      cause: error,
    });
  }
  if (code === 'ECONNRESET') return new GraceError(CLOSED_IN_HANDSHAKE, { code: TLS_FAILURE, cause: error });
  return new GraceError(describeHandshakeFailure(shortened(error)), { code: TLS_FAILURE, cause: error });
}

/** The codes that OpenSSL's verification has, X509_V_ERR_… without that beginning. */
function isCertificateCode(code: string): boolean {
  return (
    /CERT|CRL|ISSUER|SELF_SIGNED|UNABLE_TO|_CA$|PURPOSE|HOSTNAME_MISMATCH|^UNSPECIFIED$/.test(code) &&
    !code.startsWith('ERR_SSL')
  );
}

/** OpenSSL's own line is `number:error:number:library:function:reason:file:line:`; the reason is what matters. */
export function shortened(error: Error): string {
  const fields = error.message.trim().split(':');
  return fields[1] === 'error' ? (fields[5] ?? error.message) : error.message;
}
