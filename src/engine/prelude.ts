/**
 * What a destination is told of a client before the client's own bytes. Both engines ask here, so that a new kind of
 * header is its endpoint's parameter, its own file, and a line in this one.
 */
import type { ClientEndpoint } from '../endpoint/model.ts';
import { proxyHeader } from './proxy-header.ts';
import type { ProxySubject, ProxyVersion } from './proxy-header.ts';

/** What an endpoint wants to be told first, as plain data that goes to a thread; null: nothing. */
export type PreludePlan = { proxy: ProxyVersion } | null;

/** Whom it is told of. */
export type PreludeSubject = ProxySubject;

/** What this endpoint is to be told first. */
export function planPrelude({ proxy }: ClientEndpoint): PreludePlan {
  return proxy === undefined ? null : { proxy };
}

/** The bytes of it for one connection. */
export function encodePrelude({ proxy }: NonNullable<PreludePlan>, subject: PreludeSubject): Uint8Array<ArrayBuffer> {
  return proxyHeader(proxy, subject);
}
