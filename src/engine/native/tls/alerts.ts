/** Alerts of TLS (RFC 8446, section 6; RFC 5246, section 7.2), and what they are called. */

/** The peer sends no more. */
export const CLOSE_NOTIFY = 0;
/** Java sends it before its close_notify. */
export const USER_CANCELED = 90;
/** A message has another length than it says. */
export const DECODE_ERROR = 50;
/** Of TLS 1.2, where it is a warning. */
export const NO_RENEGOTIATION = 100;

/** A level: the connection may go on. In TLS 1.3 it is the description alone that counts. */
export const WARNING = 1;
/** A level: the connection is over. */
export const FATAL = 2;

const names = new Map([
  [10, 'unexpected_message'],
  [20, 'bad_record_mac'],
  [22, 'record_overflow'],
  [40, 'handshake_failure'],
  [42, 'bad_certificate'],
  [43, 'unsupported_certificate'],
  [44, 'certificate_revoked'],
  [45, 'certificate_expired'],
  [46, 'certificate_unknown'],
  [47, 'illegal_parameter'],
  [48, 'unknown_ca'],
  [49, 'access_denied'],
  [50, 'decode_error'],
  [51, 'decrypt_error'],
  [70, 'protocol_version'],
  [71, 'insufficient_security'],
  [80, 'internal_error'],
  [86, 'inappropriate_fallback'],
  [100, 'no_renegotiation'],
  [116, 'certificate_required'],
]);

/** The name that the RFC has for an alert. */
export function alertName(description: number): string {
  return names.get(description) ?? `alert ${description}`;
}
