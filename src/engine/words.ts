/** How both engines say why a connection did not come about, or ended. */
import { isIP } from 'node:net';
import { hostPort } from '../endpoint/address.ts';
import type { ClientEndpoint, DirectClient } from '../endpoint/model.ts';
import type { RefusalOfClient } from './admission/admission.ts';
import { errorCode, errorMessage, GraceError } from '../error.ts';
import { describeCode } from '../sys/system-error.ts';

/** Where an endpoint leads, without how: `tcp:HOST:PORT`, `unix:PATH`. */
export function placeOf(endpoint: ClientEndpoint): string {
  if (endpoint.type === 'sni') return 'sni';
  if (endpoint.type === 'unix') return `unix:${endpoint.path.replace(/^\0/, '@')}`;
  if (endpoint.type === 'srv') return `srv:${endpoint.name}`;
  return `${endpoint.type}:${hostPort(endpoint)}`;
}

/** Whether an endpoint leads to addresses that it does not tell itself. */
export function namesNoAddress(endpoint: DirectClient): boolean {
  return endpoint.type === 'srv' || (endpoint.type !== 'unix' && isIP(endpoint.host) === 0);
}

/** Why an attempt failed: a system's error, or one that has its own words. */
export function describeFailure(error: unknown): string {
  const code = errorCode(error);
  if (error instanceof GraceError || code === undefined) return errorMessage(error);
  return describeFailureCode(code);
}

/** The same of a system's error by its code. */
export function describeFailureCode(code: string): string {
  if (code === 'ENOTFOUND' || code.startsWith('EAI_')) return `the name cannot be resolved (${code})`;
  return `${describeCode(code)} (${code})`;
}

/** The time of an attempt was up. */
export function describeLateAnswer(seconds: number): string {
  return `timed out, no answer within ${seconds} s`;
}

/** The time of an attempt was up, and there was no local port to make it from. */
export function describeNoPorts(seconds: number): string {
  return `every local port towards it is taken, for ${seconds} s (net.ipv4.ip_local_port_range, or bindAddress=)`;
}

/** The time of an attempt was up before its name was resolved. */
export function describeLateLookup(seconds: number): string {
  return `the name cannot be resolved: no answer within ${seconds} s`;
}

/** No byte moved for as long as is allowed. */
export function describeIdle(idleMs: number): string {
  return `idle for ${idleMs / 1000} s`;
}

/** Why an open connection failed, other than by an ending of its peer. */
export function relayFailure(error: Error): GraceError {
  const message = errorCode(error) === 'ETIMEDOUT' ? 'the peer does not answer any more (ETIMEDOUT)' : error.message;
  return new GraceError(message, { cause: error });
}

/** What a browser sees that was sent to a TLS port with http://. */
export const PLAIN_HTTP_ANSWER: string = [
  'HTTP/1.1 400 Bad Request',
  'Content-Type: text/plain',
  'Content-Length: 34',
  'Connection: close',
  '',
  'This port speaks HTTPS, not HTTP.\n',
].join('\r\n');

/** A destination that ended the connection in the middle of the handshake. */
export const CLOSED_IN_HANDSHAKE = 'the connection was closed during the TLS handshake';
/** What helps where {@link describeMisnamed} is said. */
export const NAME_HINT = 'serverName=NAME says which name it has';
/** What helps where {@link describeUntrusted} is said. */
export const TRUST_HINT =
  'caCertsDir=DIR (in tls: trustRoots=DIR) says which authorities to trust; insecure=yes turns the check off';

/** A destination's certificate is for others. */
export function describeMisnamed(name: string): string {
  return `its certificate is not for ${name}`;
}

/** A destination's certificate is not of an authority that is trusted: why, and the code of that. */
export function describeUntrusted(what: string, code: string): string {
  return `its certificate is not trusted: ${what} (${code})`;
}

/** Anything else that can go wrong. */
export function describeHandshakeFailure(what: string): string {
  return `TLS handshake failed: ${what}`;
}

/** A peer of TLS that ended the connection under it, where the endpoint says that this is no end. */
export function describeTruncation(isClient: boolean): string {
  return `${isClient ? 'the client' : 'the destination'} ended TLS without saying so (truncation=reset)`;
}

const OVER: Readonly<Record<RefusalOfClient, string>> = {
  denied: 'it may not come in (allow, deny)',
  'address-connections': 'as many connections as one address may have are open (maxconnPer)',
  'address-rate': 'more new connections than one address may make (ratePer)',
};

/** A client that is not to send a PROXY header, by its address: `host:port` or `[host]:port`. */
export function describeStranger(peer: string): string {
  return `a client at ${peer.replace(/:[0-9]*$/, '').replace(/^\[(.*)\]$/, '$1')} may not send a PROXY header (proxyFrom)`;
}

/** A client whose PROXY header takes longer than it may. */
export function describeLateHeader(timeoutMs: number): string {
  return `no PROXY header came within ${timeoutMs / 1000} s`;
}

/** Why a client was refused, as a sentence. */
export function describeRefusal(refusal: RefusalOfClient): string {
  return OVER[refusal];
}
