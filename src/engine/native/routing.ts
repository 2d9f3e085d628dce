/** Where the clients of a frontend go: to one upstream, or a share of them to another. */
import type { Upstream, UpstreamShare } from '../engine.ts';
import { shareKey, shareThreshold } from '../share.ts';
import type { ThreadRouting } from './route.ts';
import { NativeUpstream } from './upstream.ts';

/** The same, of upstreams of this engine. */
export type NativeRouting = { readonly upstream: NativeUpstream; readonly share: NativeShare | null };

/** A share that goes to an upstream of this engine. */
export type NativeShare = UpstreamShare & { upstream: NativeUpstream };

/** Narrows to an upstream of this engine. Throws TypeError for another one's. */
export function ownUpstream(upstream: Upstream): NativeUpstream {
  if (upstream instanceof NativeUpstream) return upstream;
  throw new TypeError('this upstream was opened by another engine');
}

/** The same of a share. */
export function ownShare(share: UpstreamShare | null): NativeShare | null {
  return share && { ...share, upstream: ownUpstream(share.upstream) };
}

/** Whether the threads can connect to all of it. */
export function isInReach({ upstream, share }: NativeRouting): boolean {
  return upstream.isInReach && (share?.upstream.isInReach ?? true);
}

/** Its share as the portable engine has it. */
export function portableShare({ share }: NativeRouting): UpstreamShare | null {
  return share && { ...share, upstream: share.upstream.portable };
}

/** The same as the threads have it. */
export function threadRouting({ upstream, share }: NativeRouting): ThreadRouting {
  return {
    upstream: upstream.id,
    share: share && {
      upstream: share.upstream.id,
      threshold: shareThreshold(share.percent),
      key: shareKey(share.secret),
    },
  };
}
