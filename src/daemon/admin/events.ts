/** What happened lately, for the page: a bounded list of what the log said of rules and processes, which a successor goes on with. */
import * as v from 'valibot';

/** Most events that are kept; the oldest go. */
const maxEvents = 100;

/** Longest text of an event, in characters: an error may quote what strangers sent. */
const maxText = 500;

/** Schema of an {@link Event}. */
export const eventSchema = v.object({
  time: v.string(),
  kind: v.string(),
  message: v.string(),
  pid: v.number(),
  src: v.exactOptional(v.string()),
  dst: v.exactOptional(v.string()),
  detail: v.exactOptional(v.string()),
});

/** Something that happened: when (ISO 8601), which kind, the log's words, which process wrote them, about what, and why. */
export type Event = v.InferOutput<typeof eventSchema>;

/** What a successor goes on with: which of the listeners that it inherits, null for none, and what happened. */
export type HandedAdmin = { listener: number | null; events: readonly Event[] };

/** Lines of the log that are events, by their words. */
export const kinds: Readonly<Record<string, string>> = {
  serving: 'start',
  'rule started': 'rule',
  'rule stopped': 'rule',
  'rule is served again': 'rule',
  'rule switched': 'switch',
  'switch rolled back': 'rollback',
  'trial of a switch is over': 'switch',
  'rule held: its clients wait': 'hold',
  'rule released: its clients go on': 'hold',
  'connections closed': 'close',
  restarting: 'restart',
  'open connections taken over': 'restart',
  'restart failed; going on as before': 'rollback',
  'started again after a crash': 'crash',
  'the native engine failed; its connections are lost, and the portable engine goes on': 'crash',
  'log reopened, certificates reloaded': 'reload',
  'rule not started': 'trouble',
  'networks read again': 'reload',
  'networks not read again; the old ones stay': 'trouble',
  'certificates not reloaded; the old ones stay': 'trouble',
  'serving all the same': 'trouble',
  'accepting paused; clients wait in the queue': 'trouble',
  'accepting again': 'trouble',
  stopping: 'stop',
};

/** Fields of a line that say why, the first that there is. */
const reasons = [
  'error',
  'reason',
  'why',
  'because',
  'trouble',
  'version',
  'connections',
  'percent',
  'closed',
  'result',
];

const line = v.looseObject({ msg: v.string(), pid: v.number() });

/** The events of this daemon, the oldest first. */
export class Events {
  #events: Event[] = [];

  get all(): readonly Event[] {
    return this.#events;
  }

  /** Go on with those of a predecessor, which were before all others. */
  inherit(events: readonly Event[]): void {
    this.#events = [...events, ...this.#events].slice(-maxEvents);
  }

  /** Hear a line of the log, an object of JSON; most are no event. */
  hear(text: string): void {
    const parsed = v.safeParse(line, JSON.parse(text));
    if (!parsed.success) return;
    const { msg, pid, ...fields } = parsed.output;
    const isSuccessor = msg === 'serving' && Number(fields['generation']) > 1;
    const kind = isSuccessor ? 'restart' : kinds[msg];
    if (kind === undefined) return;
    const reason = reasons.find((name) => fields[name] !== undefined);
    const event: Event = {
      time: new Date().toISOString(),
      kind,
      message: msg,
      pid,
      ...textIn(fields, 'src'),
      ...textIn(fields, 'dst'),
      ...(reason === undefined ? {} : { detail: shortened(`${reason} ${String(fields[reason])}`) }),
    };
    this.#events = [...this.#events, event].slice(-maxEvents);
  }
}

function textIn<N extends 'src' | 'dst'>(fields: Record<string, unknown>, name: N): { [K in N]?: string } {
  const value = fields[name];
  return typeof value === 'string' ? ({ [name]: shortened(value) } as { [K in N]?: string }) : {};
}

function shortened(text: string): string {
  return text.length > maxText ? `${text.slice(0, maxText)}…` : text;
}
