import pino from 'pino';
import pretty from 'pino-pretty';
import { isJournal } from '../../control/log-place.ts';
import { visible, visibleJson } from '../../one-line.ts';
import { describeError } from '../../sys/system-error.ts';
import { Console } from './console.ts';
import { LogFile } from './file.ts';

/** The daemon's log: methods take the event's fields and then its words. */
export type Log = pino.Logger;

/** Lines for people, or a JSON object a line. */
export type LogFormat = 'text' | 'json';

/** Where the lines go: a file, or a descriptor that is somebody's standard error. */
export type LogOutput =
  /** `spare` is used where the file cannot be. */
  { kind: 'file'; path: string; spare: number } | { kind: 'console'; fd: number };

/** A log, and what can be done with its file. */
export type OpenedLog = {
  log: Log;
  output: LogOutput;
  /** Why the lines do not go into their file; null when they do. */
  readonly problem: string | null;
  /** Why lines that go into the file are lost, as on a disk that is full; null when they are not. */
  readonly loss: string | null;
  /** Open the file by its path again, after it was renamed or removed. Where that cannot be, everything stays. */
  reopen(): void;
};

/** How a log is written. */
export type LogOptions = {
  output: LogOutput;
  format: LogFormat;
  /** Which process of the daemon writes, from 1; in JSON beside the pid. */
  generation: number;
  env: NodeJS.ProcessEnv;
  level?: string;
  /** Hears every line as JSON. */
  onLine?: ((json: string) => void) | undefined;
};

/**
 * Append to a log, a line an event, each line with the pid so that generations can be told apart. Lines
 * are written at once and whole, since two generations may share the file. The journal notes time and
 * pid itself, and is told how grave a line is.
 */
export function openLog({ output, format, generation, env, level = 'info', onLine }: LogOptions): OpenedLog {
  const sink = new Sink(output);
  const inJournal = output.kind === 'console' && isJournal(output.fd, env);
  const prettify = pretty.prettyFactory({
    colorize: false,
    singleLine: true,
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l o',
    ignore: inJournal ? 'hostname,time,pid,level' : 'hostname',
    errorLikeObjectKeys: [],
  });
  const stream = {
    // pino sets it before each line for a stream that wants to know.
    [Symbol.for('pino.metadata')]: true,
    lastLevel: 0,
    write(line: string) {
      onLine?.(line);
      // What strangers send may be in it: a line stays one line, and no terminal is told what to do.
      const text = `${format === 'json' ? visibleJson(line.trimEnd()) : visible(prettify(line).trimEnd())}\n`;
      const lost = sink.write(inJournal ? `<${priorityOf(this.lastLevel)}>${text}` : text);
      if (lost > 0) log.warn({ lines: lost }, 'lines of the log were lost: it could not be written for a while');
    },
  };
  const forMachines = {
    base: { pid: process.pid, generation },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const log = pino({ level, ...(format === 'json' ? forMachines : { base: { pid: process.pid } }) }, stream);
  return {
    log,
    output,
    get problem() {
      return sink.problem;
    },
    get loss() {
      return sink.loss;
    },
    reopen: () => sink.reopen(),
  };
}

/** A file, or what stands in for one that cannot be opened: a disk that is full or read-only must not keep a daemon from serving. */
class Sink {
  readonly #output: LogOutput;
  #line: LogFile | Console;
  problem: string | null = null;

  constructor(output: LogOutput) {
    this.#output = output;
    this.#line = output.kind === 'console' ? new Console(output.fd) : new Console(output.spare);
    this.reopen();
  }

  /** Returns how many lines had been lost, for the first one that is written again. */
  write(text: string): number {
    if (this.#line instanceof LogFile) return this.#line.write(text);
    this.#line.write(text);
    return 0;
  }

  get loss(): string | null {
    return this.#line instanceof LogFile ? this.#line.problem : null;
  }

  reopen(): void {
    if (this.#output.kind === 'console') return;
    try {
      if (this.#line instanceof LogFile) this.#line.reopen();
      else this.#line = new LogFile(this.#output.path);
      this.problem = null;
    } catch (error) {
      this.problem = `${this.#output.path}: ${describeError(error)}`;
    }
  }
}

/** syslog(3)'s priority of one of pino's levels. */
function priorityOf(level: number): number {
  if (level >= 60) return 2;
  if (level >= 50) return 3;
  if (level >= 40) return 4;
  return level >= 30 ? 6 : 7;
}
