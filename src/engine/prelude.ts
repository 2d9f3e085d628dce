/**
 * What a destination is told of a client before the client's own bytes. Both engines ask here, so that a new kind of
 * header is its endpoint's parameter, its own file, and a line in this one.
 */
import type { DirectClient } from '../endpoint/model.ts';
import { proxyHeader } from './proxy-header.ts';
import type { ProxySubject, ProxyTlvs, ProxyVersion } from './proxy-header.ts';

/** What an endpoint wants to be told first, as plain data that goes to a thread; null: nothing. */
export type PreludePlan = {
  proxy: ProxyVersion;
  tlvs: Pick<ProxyTlvs, 'hasFields' | 'isSummed'>;
  /** Whether the number of the connection is told. */
  hasId: boolean;
} | null;

/** Whom it is told of. */
export type PreludeSubject = ProxySubject;

/** What this endpoint is to be told first. */
export function planPrelude({ proxy, proxyTlv = [] }: DirectClient): PreludePlan {
  if (proxy === undefined) return null;
  return {
    proxy,
    tlvs: { hasFields: !proxyTlv.includes('none'), isSummed: proxyTlv.includes('crc32c') },
    hasId: proxyTlv.includes('unique-id'),
  };
}

/** The bytes of it for one connection; `id`: what names that, as `grace ls --connections` does. */
export function encodePrelude(
  { proxy, tlvs, hasId }: NonNullable<PreludePlan>,
  subject: PreludeSubject,
  id: () => string | undefined = () => undefined,
): Uint8Array<ArrayBuffer> {
  return proxyHeader(proxy, subject, { ...tlvs, uniqueId: hasId ? id() : undefined });
}
