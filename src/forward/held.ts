/** A forwarder whose rules do not change, until one of the last three is called. */
export type Held = {
  /** Stop accepting; a client that waits in a queue stays there. */
  pause(): Promise<void>;
  /** Nothing was paused: go on. */
  release(): void;
  /** Accept again and go on. */
  resume(): void;
  /** Let go of all listeners, which a successor has; changes that come now fail with the reason. */
  handOver(reason: Error): void;
};
