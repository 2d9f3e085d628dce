import type { Admin } from './admin/admin.ts';
import type { StatePaths } from '../control/paths.ts';
import type { Program } from '../control/shapes.ts';
import type { Engine } from '../engine/engine.ts';
import type { TotalSlots } from '../engine/total-slots.ts';
import type { Services } from '../engine/services.ts';
import type { Certificates } from './rules/certificates.ts';
import type { Holds } from './rules/holds.ts';
import type { RuleSources } from './rules/sources.ts';
import type { Changes } from '../forward/changes.ts';
import type { Forwarder } from '../forward/forwarder.ts';
import type { Lock } from '../sys/lock.ts';
import type { EndedGenerations } from './generations/ended.ts';
import type { Book } from './metrics/book.ts';
import type { Generations } from './generations/generations.ts';
import type { CountersWriter } from './state/counters-file.ts';
import type { Followers } from './requests/followers.ts';
import type { HandoverState } from './handover/state.ts';
import type { Lifecycle, Phase } from './lifecycle.ts';
import type { Listeners } from './listeners/listeners.ts';
import type { Supervisor } from './supervisor/supervisor.ts';
import type { RulesCopy } from './state/rules-memory.ts';
import type { Tickets } from './state/tickets-memory.ts';
import type { Troubles } from './troubles.ts';
import type { AccessLog } from './log/access-log.ts';
import type { Log, LogOutput } from './log/log.ts';
import type { StoredRule } from './state/rules-file.ts';

/** The parts of a running daemon. */
export type Service = {
  readonly paths: StatePaths;
  readonly log: Log;
  readonly logOutput: LogOutput;
  /** Why the log is not where it should be; null when it is. */
  readonly logProblem: () => string | null;
  /** Why lines of the log are lost; null when they are not. */
  logLoss(): string | null;
  /** What the daemon goes on without. */
  readonly troubles: Troubles;
  readonly rulesCopy: RulesCopy;
  /** What seals the session tickets of TLS. */
  readonly tickets: Tickets;
  readonly version: string;
  /** How this daemon was started, to start a successor in the same way. */
  readonly self: Program;
  /** Number of the group whose members may command the daemon; null: its own user and root alone. */
  readonly socketGroup: number | null;
  /** When the first generation came up, ISO 8601. */
  readonly startedAt: string;
  /** How long ago that was, in milliseconds, by a clock that nobody sets. */
  uptimeMs(): number;
  /** When this process came up, ISO 8601. */
  readonly processStartedAt: string;
  readonly engine: Engine;
  /** The places of all connections (`--maxconn`); null: no limit. */
  readonly total: TotalSlots | null;
  /** Where the services of `srv` destinations are. */
  readonly services: Services;
  readonly engineReason: string;
  readonly listeners: Listeners;
  readonly forwarder: Forwarder;
  readonly generations: Generations;
  readonly endedGenerations: EndedGenerations;
  readonly counters: CountersWriter;
  readonly book: Book;
  /** Null: there is none. */
  readonly accessLog: AccessLog | null;
  readonly certificates: Certificates;
  /** What answers over HTTP; null without `--admin`. */
  readonly admin: Admin | null;
  readonly holds: Holds;
  /** Where rules are followed to (`apply --watch` of etcd). */
  readonly sources: RuleSources;
  /** Of this process, once it was replaced: the daemon that serves. */
  readonly followers: Followers;
  readonly supervisor: Supervisor;
  readonly changes: Changes;
  readonly lock: Lock;
  /** Arguments that this daemon was started with and a successor is to have too. */
  readonly flags: readonly string[];
  /** Which process of this daemon it is, from 1; each restart adds one. */
  readonly generation: number;
  /** Kept rules that this version does not understand; they are written back as they are. */
  readonly unread: StoredRule[];
  readonly lifecycle: Lifecycle;
  /** That of `lifecycle`. */
  readonly phase: Phase;
  /** How far a restart is. */
  readonly handover: HandoverState;
  /** Make this process the one that clients and init systems find in the state dir. */
  takeOver(): void;
};
