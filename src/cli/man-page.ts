import { commands, globalOptions } from '../control/commands.ts';
import { clientRows, serverRows } from './endpoint-help.ts';
import type { CommandDefinition } from '../control/commands.ts';
import type { OptionDefinition } from '../control/commands/definition.ts';
import { durationsText, endpointsText, exitCodes, introduction } from './help.ts';

/** The manual page, in man(7)'s macros. */
export function manualPage(version: string): string {
  return [
    `.TH GRACE 1 "" "grace ${escape(version)}" "User Commands"`,
    '.SH NAME',
    'grace \\- forward connections, and switch, restart and upgrade without dropping any',
    '.SH SYNOPSIS',
    '.B grace',
    '.RB [ \\-d',
    '.IR DIR ]',
    '.I COMMAND',
    '.RI [ ARGUMENTS ]',
    '.SH DESCRIPTION',
    text(introduction),
    '.PP',
    text(
      'SRC is a server endpoint, which says where to listen; DST is a client endpoint, which says where to connect. The executable is client and daemon at once: "grace start" runs the daemon in the background when none runs in the state dir.',
    ),
    '.SH COMMANDS',
    ...commands.flatMap(commandLines),
    '.SH OPTIONS',
    text('Options may stand before or after the command and its arguments; -- ends them.'),
    ...globalOptions.flatMap(optionLines),
    '.SH ENDPOINTS',
    text(endpointsText),
    '.SS SRC',
    ...serverRows.flatMap(([usage, meaning]) => ['.TP', text(usage), text(meaning)]),
    '.SS DST',
    ...clientRows.flatMap(([usage, meaning]) => ['.TP', text(usage), text(meaning)]),
    '.SH DURATIONS',
    text(durationsText),
    '.SH EXIT STATUS',
    ...exitCodes.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, text(meaning)]),
    '.SH ENVIRONMENT',
    ...tagged('GRACE_DIR', 'The state dir, without -d.'),
    ...tagged('GRACE_LOG', 'Where the log of a daemon goes, without --log.'),
    ...tagged('GRACE_TLS', '"portable": TLS is left to the portable engine.'),
    ...tagged('GRACE_RELEASE_URL', 'Where "grace upgrade" finds releases, without --from.'),
    ...tagged('NO_COLOR', 'No colours on a terminal.'),
    '.SH FILES',
    ...tagged(
      '~/.grace',
      'The state dir: grace.pid (the pid to watch and to signal), grace.sock (control socket), grace.log, state.json (the rules).',
    ),
    '.SH SIGNALS',
    text(
      'The daemon stops gracefully at TERM and INT, and at once at a second one. USR2 restarts it, HUP reopens the log and reloads certificates, which happens by itself where their files have changed, USR1 reopens the log.',
    ),
    '',
  ].join('\n');
}

function commandLines(command: CommandDefinition): string[] {
  const { name, aliases, args, options, summary, details, examples } = command;
  const words = args.map(
    (argument) => `${argument.required ? ' ' : ' ['}\\fI${escape(argument.name)}\\fR${argument.required ? '' : ']'}`,
  );
  const switches = options.map(
    ({ name: option, value }) =>
      ` [\\fB\\-\\-${escape(option)}\\fR${value === undefined ? '' : ` \\fI${escape(value)}\\fR`}]`,
  );
  return [
    `.SS ${escape(name)}`,
    `\\fBgrace ${escape(name)}\\fR${words.join('')}${switches.join('')}`,
    '.PP',
    text(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`),
    ...details.flatMap((paragraph) => ['.PP', text(paragraph)]),
    ...(aliases.length > 0 ? ['.PP', text(`Also: ${aliases.map((alias) => `grace ${alias}`).join(', ')}`)] : []),
    ...options.flatMap(optionLines),
    ...(examples.length > 0 ? ['.PP', '.nf', ...examples.map((example) => `.RS 4\n${text(example)}\n.RE`), '.fi'] : []),
  ];
}

function optionLines({ name, short, value, help }: OptionDefinition): string[] {
  const letter = short === undefined ? '' : `\\fB\\-${short}\\fR, `;
  return [
    '.TP',
    `${letter}\\fB\\-\\-${escape(name)}\\fR${value === undefined ? '' : ` \\fI${escape(value)}\\fR`}`,
    text(help),
  ];
}

function tagged(tag: string, meaning: string): string[] {
  return ['.TP', `.B ${escape(tag)}`, text(meaning)];
}

/** A paragraph, as a line of input that is no request. */
function text(paragraph: string): string {
  return escape(paragraph)
    .replaceAll('. ', '.\n')
    .replace(/^(?=[.'])/gm, '\\&');
}

function escape(words: string): string {
  return words
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti');
}
