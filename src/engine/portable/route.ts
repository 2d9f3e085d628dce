/** Where a frontend sends the clients that it accepts. The native engine has its own in native/route.ts. */
import type { Upstream, UpstreamShare } from '../engine.ts';
import { hashOfHost, shareKey, shareThreshold } from '../share.ts';
import type { ShareKey } from '../share.ts';
import { ownUpstream } from './upstream.ts';
import type { PortableUpstream } from './upstream.ts';

/** To one upstream, or a share of them to another. */
export class Route {
  #upstream: PortableUpstream;
  #share: { upstream: PortableUpstream; threshold: number; key: ShareKey } | null;

  constructor(upstream: PortableUpstream, share: UpstreamShare | null) {
    this.#upstream = upstream;
    this.#share = openShare(share);
  }

  /** Clients that are accepted from now on go there. Throws TypeError for an upstream of another engine. */
  set(upstream: Upstream, share: UpstreamShare | null): void {
    this.#upstream = ownUpstream(upstream);
    this.#share = openShare(share);
  }

  /** Where those go of whom nothing is known. */
  get upstream(): PortableUpstream {
    return this.#upstream;
  }

  /** Where a client with this address goes. */
  upstreamFor(host: string | undefined): PortableUpstream {
    const share = this.#share;
    return share && hashOfHost(host, share.key) < share.threshold ? share.upstream : this.#upstream;
  }
}

function openShare(share: UpstreamShare | null) {
  if (share === null) return null;
  const { upstream, percent, secret } = share;
  return { upstream: ownUpstream(upstream), threshold: shareThreshold(percent), key: shareKey(secret) };
}
