/** A part of the benchmark: what is measured of several peers in turn. */
import type { BackendKind } from './backend.ts';
import type { Figures, Measurement } from './measure.ts';
import type { UpstreamTls } from './tls.ts';
import type { Peer, RunningPeer } from './peers.ts';

export type Section = {
  name: string;
  title: string;
  /** How it is made sure that all are measured alike, where that is not plain. */
  remark?: string;
  backend: BackendKind;
  /** From the client. */
  isTls: boolean;
  /** Towards the backend. */
  upstreamTls?: UpstreamTls;
  /** The peer forwards the same without TLS, on a port of its own. */
  forwardsPlainToo?: boolean;
  /** Programs that make the load. */
  tools: readonly string[];
  peers: readonly Peer[];
  reference: string;
  /** Default the rounds of the options. */
  rounds?: number;
  /** A new process for each measurement, with no other peer beside it. */
  isAlone?: boolean;
  /** Processors for load and backend; default all. */
  loadCpus?: string;
  measure(peer: RunningPeer, measurement: Measurement): Promise<Figures>;
  /** How long a warm-up takes; default 1. */
  warmUpSeconds?: number;
  /** Default a short measurement. */
  warmUp?(peer: RunningPeer, measurement: Measurement): Promise<unknown>;
};
