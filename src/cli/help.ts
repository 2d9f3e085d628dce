import { clientRows, serverRows } from './endpoint-help.ts';
import { commands, globalOptions } from '../control/commands.ts';
import type { CommandDefinition } from '../control/commands.ts';
import type { ArgumentDefinition, OptionDefinition } from '../control/commands/definition.ts';

const lineWidth = 80;

/** What the help and the manual page have in common. */
export const introduction =
  'grace forwards connections from one endpoint to another, and moves, restarts and upgrades without dropping any.';
/** Endpoints, as help and the manual page tell of them. */
export const endpointsText =
  'tcp:8080, tcp:8080:interface=127.0.0.1 or unix:/run/app.sock as SRC; tcp:127.0.0.1:9001, tls:example.com:443 or unix:/run/app.sock as DST; "grace endpoint" explains one.';
/** Durations, likewise. */
export const durationsText = '500ms, 30s, 5m, 2h, or a bare number of seconds.';
/** Exit codes and their meanings, likewise. */
export const exitCodes: readonly (readonly [code: number, meaning: string])[] = [
  [0, 'done'],
  [1, 'failed, nothing was changed'],
  [2, 'the command line or an endpoint is wrong'],
  [3, 'no daemon runs'],
  [4, 'SRC, or the name, is not forwarded'],
  [5, 'the destination does not accept'],
  [100, 'a newer version is there (upgrade --check)'],
  [124, 'a timeout passed'],
];

/** `grace stop [SRC] [--timeout DURATION] [--now]` */
export function usageOf({ name, args, options }: CommandDefinition): string {
  const words = args.filter(({ isAfterDashes }) => !isAfterDashes).map(wordOf);
  const own = args.filter(({ isAfterDashes }) => isAfterDashes).map(({ name: word }) => `[-- ${word} ...]`);
  const choices = options.map((option) => `[--${option.name}${option.value === undefined ? '' : ` ${option.value}`}]`);
  return ['grace', name, ...words, ...choices, ...own].join(' ');
}

function wordOf({ name, required, isAfterDashes }: ArgumentDefinition): string {
  return isAfterDashes ? `[-- ${name} ...]` : required ? name : `[${name}]`;
}

/** What `grace --help` prints. */
export function generalHelp(): string {
  const rows = commands.map(({ name, aliases, args, summary }) => {
    const words = args.map(wordOf);
    return [[[name, ...aliases].join(', '), ...words].join(' '), summary] as const;
  });
  return [
    wrap(introduction),
    'Usage: grace [-d DIR] COMMAND [ARGUMENTS]',
    `Commands:\n${columns(rows)}`,
    `Options:\n${columns(globalOptions.map(optionRow))}`,
    wrap(`Endpoints: ${endpointsText}`),
    `Durations: ${durationsText}`,
    wrap(`Exit codes: ${exitCodes.map(([code, meaning]) => `${code} ${meaning}`).join('; ')}.`),
    'Help for a command: grace COMMAND --help; for endpoints: grace help endpoints',
  ].join('\n\n');
}

/** What `grace help endpoints` prints. */
export function endpointHelp(): string {
  return [
    wrap(
      'An endpoint is a type and its parameters, by position or as NAME=VALUE, with colons between: tcp:8080:interface=127.0.0.1. A backslash takes the next character literally; an IPv6 address may stand in brackets.',
    ),
    `SRC, where to listen:\n${columns(serverRows)}`,
    `DST, where to connect:\n${columns(clientRows)}`,
    'What a string means: grace endpoint server|client STRING',
  ].join('\n\n');
}

/** What `grace COMMAND --help` prints. */
export function commandHelp(command: CommandDefinition): string {
  const { summary, details, aliases, options, examples } = command;
  return [
    wrap(`Usage: ${usageOf(command)}`, lineWidth, '  '),
    `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`,
    ...details.map((paragraph) => wrap(paragraph)),
    ...(aliases.length > 0 ? [`Also: ${aliases.map((alias) => `grace ${alias}`).join(', ')}`] : []),
    `Options:\n${columns([...options, ...globalOptions].map(optionRow))}`,
    `Examples:\n${examples.map((example) => `  ${example}`).join('\n')}`,
  ].join('\n\n');
}

function optionRow({ name, short, value, help }: OptionDefinition): readonly [string, string] {
  const letter = short === undefined ? '    ' : `-${short}, `;
  return [`${letter}--${name}${value === undefined ? '' : ` ${value}`}`, help];
}

/** Two columns; the right one wraps below itself. */
function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length)) + 4;
  return rows
    .map(
      ([left, right]) =>
        `  ${left}`.padEnd(width) + wrap(right, lineWidth - width).replaceAll('\n', `\n${' '.repeat(width)}`),
    )
    .join('\n');
}

function wrap(text: string, width = lineWidth, indent = ''): string {
  const lines: string[] = [];
  let line = '';
  // An option and its value stay together.
  for (const word of indent === '' ? text.split(' ') : (text.match(/\[(?:\[[^\]]*\]|[^[\]])*\]|\S+/g) ?? [])) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent + word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join('\n');
}
