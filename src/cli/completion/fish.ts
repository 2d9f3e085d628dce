import { commands, globalOptions } from '../../control/commands.ts';
import type { CommandDefinition } from '../../control/commands.ts';
import type { OptionDefinition } from '../../control/commands/definition.ts';
import { namesOf, placeOfArgument, placeOfValue } from './words.ts';
import type { CompletionPoint } from './words.ts';

/** Completion for fish, as a file `grace.fish` of a completions directory. */
export function fishCompletion(): string {
  const lines = [
    ...commands.flatMap((command) =>
      namesOf(command).map(
        (name) => `complete -c grace -n __grace_has_no_command -a ${name} -d ${quote(command.summary)}`,
      ),
    ),
    ...globalOptions.map((option) => optionLine('true', option)),
    ...commands.flatMap((command) => [
      ...command.options.map((option) => optionLine(`__grace_at ${namesOf(command).join(' ')}`, option)),
      ...command.args.flatMap((argument, index) => argumentLine(command, placeOfArgument(command, argument), index)),
    ]),
  ];
  return `# Completion of grace for fish. Made by: grace completion fish

# The words of the line that are neither options nor their values: the program, the command, its arguments.
function __grace_words
    set -l words (commandline -opc)
    set -l skip no
    for word in $words
        if test $skip = yes
            set skip no
        else if contains -- $word ${valuedSpellings().join(' ')}
            set skip yes
        else if not string match -q -- '-*' $word
            echo -- $word
        end
    end
end

function __grace_has_no_command
    test (count (__grace_words)) -eq 1
end

# Whether one of these commands was typed.
function __grace_at
    set -l words (__grace_words)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end

# Whether the next word is this argument of one of these commands, counted from 0.
function __grace_at_argument
    test (count (__grace_words)) -eq (math 2 + $argv[1]); and __grace_at $argv[2..-1]
end

function __grace_sources
    set -l words (commandline -opc)
    set -l dir
    for index in (seq (count $words))
        switch $words[$index]
            case -d --dir
                set dir -d $words[(math $index + 1)]
            case '--dir=*'
                set dir -d (string replace -- --dir= '' $words[$index])
        end
    end
    eval (string escape -- $words[1] $dir) ls 2>/dev/null | awk 'NR > 1 && !seen[$1]++ { print $1 }'
end

complete -c grace -f
${lines.join('\n')}
`;
}

function valuedSpellings(): string[] {
  const options = [...globalOptions, ...commands.flatMap((command) => command.options)].filter(
    (option) => option.value !== undefined,
  );
  return [
    ...new Set(options.flatMap(({ name, short }) => [...(short === undefined ? [] : [`-${short}`]), `--${name}`])),
  ];
}

function optionLine(condition: string, option: OptionDefinition): string {
  const { name, short, value, help } = option;
  const letter = short === undefined ? '' : ` -s ${short}`;
  const place = placeOfValue(option);
  const needsValue = value === undefined ? '' : ` ${place.kind === 'file' ? '-r' : '-x'}${offer(place)}`;
  return `complete -c grace -n '${condition}' -l ${name}${letter}${needsValue} -d ${quote(help)}`;
}

function argumentLine(command: CommandDefinition, place: CompletionPoint, index: number): string[] {
  if (place.kind === 'none') return [];
  return [`complete -c grace -n '__grace_at_argument ${index} ${namesOf(command).join(' ')}'${offer(place)}`];
}

function offer(place: CompletionPoint): string {
  switch (place.kind) {
    case 'directory':
      return ` -a '(__fish_complete_directories)'`;
    case 'file':
      return ' -F';
    case 'source':
      return ` -a '(__grace_sources)'`;
    case 'command':
      return ` -a '${commands.flatMap(namesOf).join(' ')}'`;
    case 'choice':
      return ` -a '${place.choices.join(' ')}'`;
    case 'none':
      return '';
  }
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
