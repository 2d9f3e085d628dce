import pino from 'pino';
import pretty from 'pino-pretty';

/** The daemon's log: methods take the event's fields and then its words. */
export type Log = pino.Logger;

export type LogFormat = 'text' | 'json';

export type LogFile = {
  log: Log;
  /** Open the file by its path again, after it was renamed or removed. */
  reopen(): void;
};

export type LogOptions = {
  file: string;
  format: LogFormat;
  /** Which process of the daemon writes, from 1; in JSON beside the pid. */
  generation: number;
  level?: string;
};

/**
 * Append to a log file, a line an event, each line with the pid so that generations can be told
 * apart. Lines are written at once and whole, since two generations may share the file.
 */
export function openLog({ file, format, generation, level = 'info' }: LogOptions): LogFile {
  const destination = pino.destination({ dest: file, append: true, sync: true, mode: 0o600 });
  destination.on('error', () => {}); // a full disk must not stop the service
  const stream =
    format === 'json'
      ? destination
      : pretty({ destination, sync: true, colorize: false, singleLine: true, translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l o', ignore: 'hostname', errorLikeObjectKeys: [] });
  const forMachines = { base: { pid: process.pid, generation }, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label: string) => ({ level: label }) } };
  const log = pino({ level, ...(format === 'json' ? forMachines : { base: { pid: process.pid } }) }, stream);
  return { log, reopen: () => destination.reopen() };
}
