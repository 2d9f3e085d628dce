/** Measurements of several peers in turn, round after round, so that what else the machine does falls on all alike. */
import type { Figures } from './measure.ts';

/** For each peer its figures of each round; null where it failed. Rounds are aligned: an index is the same round for all. */
export type Rounds = ReadonlyMap<string, readonly (Figures | null)[]>;

/** Failures after which a peer is not tried again. */
const patience = 2;

/**
 * The order of a round. It starts with another peer each time, and every second time goes backwards, so
 * that no peer always comes after the same one, which may leave caches, memory or ports in a bad state.
 */
export function orderOfRound<T>(peers: readonly T[], round: number): T[] {
  const first = peers.length === 0 ? 0 : round % peers.length;
  const rotated = [...peers.slice(first), ...peers.slice(0, first)];
  return round % 2 === 1 ? rotated.toReversed() : rotated;
}

export type Interleaving<P extends { name: string }> = {
  peers: readonly P[];
  rounds: number;
  measure: (peer: P, round: number) => Promise<Figures>;
  /** A peer failed in a round; the others go on. */
  onFailure: (failure: { peer: P; round: number; error: Error; isLast: boolean }) => void;
  signal: AbortSignal;
};

/** Rejects when interrupted, and for nothing that a peer does. */
export async function interleave<P extends { name: string }>({
  peers,
  rounds,
  measure,
  onFailure,
  signal,
}: Interleaving<P>): Promise<Rounds> {
  const figures = new Map(peers.map(({ name }) => [name, Array.from<Figures | null>({ length: rounds }).fill(null)]));
  const failures = new Map<string, number>();
  for (let round = 0; round < rounds; round++) {
    for (const peer of orderOfRound(peers, round)) {
      if ((failures.get(peer.name) ?? 0) >= patience) continue;
      try {
        figures.get(peer.name)![round] = await measure(peer, round);
      } catch (error) {
        signal.throwIfAborted();
        const count = (failures.get(peer.name) ?? 0) + 1;
        failures.set(peer.name, count);
        onFailure({ peer, round, error: error as Error, isLast: count === patience });
      }
    }
  }
  return figures;
}
