/** What a source asks of its clients where a proxy speaks for each with a PROXY header. Both engines ask here. */
import { innerEndpoint } from '../endpoint/inner.ts';
import type { ServerEndpoint } from '../endpoint/model.ts';
import { readNetworks } from '../endpoint/networks.ts';
import type { Networks } from '../endpoint/networks.ts';
import { printServer } from '../endpoint/print.ts';
import type { AddressWords } from './admission/address-key.ts';
import { includesAddress } from './admission/networks.ts';
import { PROXY_HEADER_TIMEOUT_MS } from './policy.ts';

/** Plain data, which goes to a thread. */
export type HeaderPlan = {
  /** Longest that a client may take over its header, in milliseconds. */
  timeoutMs: number;
  /** From where one is taken; null: from anywhere. */
  from: Networks | null;
};

/** For an endpoint whose clients send a header (`haproxy:`, `proxy=accept`); null for any other. */
export function planHeader(endpoint: ServerEndpoint): HeaderPlan | null {
  const inner = innerEndpoint(endpoint);
  if (inner.type === 'stdio' || (endpoint.type !== 'haproxy' && inner.proxy === undefined)) return null;
  const { headerTimeout: timeoutMs = PROXY_HEADER_TIMEOUT_MS, proxyFrom } = inner;
  const about = { parameter: 'proxyFrom', text: printServer(inner) };
  return { timeoutMs, from: proxyFrom === undefined ? null : readNetworks(proxyFrom, about) };
}

/** Whether a header is taken from this address; null is that of a Unix socket, which has its mode. */
export function mayBeSpokenFor({ from }: HeaderPlan, words: AddressWords | null): boolean {
  return from === null || words === null || includesAddress(from, words);
}
