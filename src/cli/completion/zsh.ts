import { commands, globalOptions } from '../../control/commands.ts';
import type { OptionDefinition } from '../../control/commands/definition.ts';
import { namesOf, optionsOf, placeOfArgument, placeOfValue, spellings } from './words.ts';
import type { CompletionPoint } from './words.ts';

/** Completion for zsh: to be put into a directory of fpath as `_grace`, or to be read by eval. */
export function zshCompletion(): string {
  return `#compdef grace
# Completion of grace for zsh. Made by: grace completion zsh
_grace() {
  local curcontext=$curcontext state line grace=$words[1]
  local -A opt_args
  local -a dir
  _arguments -C -s -S \\
${globalOptions.map((option) => `    ${specOf(option)} \\`).join('\n')}
    '1:command:_grace_commands' '*::argument:->arguments' && return
  dir=(\${opt_args[-d]:-\${opt_args[--dir]}})
  [[ -n $dir ]] && dir=(-d \${~dir})
  case $words[1] in
${commands
  .map((command) => {
    const specs = [
      ...optionsOf(command).map(specOf),
      ...command.args.map(
        (argument) =>
          `'${argument.required ? '' : ':'}:${argument.name.toLowerCase()}:${actionOf(placeOfArgument(command, argument))}'`,
      ),
    ];
    return `    ${namesOf(command).join('|')}) _arguments -s -S ${specs.join(' ')} ;;`;
  })
  .join('\n')}
  esac
}

_grace_commands() {
  local -a commands=(
${commands.flatMap((command) => namesOf(command).map((name) => `    ${quote(`${name}:${command.summary}`)}`)).join('\n')}
  )
  _describe command commands
}

_grace_sources() {
  compadd -- \${(fu)"$($grace $dir ls 2>/dev/null | awk 'NR > 1 { print $1 }')"}
}

if [[ $funcstack[1] == _grace ]]; then _grace "$@"; else compdef _grace grace; fi
`;
}

/** `'(-d --dir)'{-d,--dir}'[state dir]:dir:_directories'` */
function specOf(option: OptionDefinition): string {
  const names = spellings(option);
  const text = `[${option.help.replace(/[[\]\\:]/g, '\\$&')}]`;
  const value = option.value === undefined ? '' : `:${option.value.toLowerCase()}:${actionOf(placeOfValue(option))}`;
  const [only] = names;
  if (names.length === 1) return quote(`${only}${text}${value}`);
  return `${quote(`(${names.join(' ')})`)}{${names.join(',')}}${quote(`${text}${value}`)}`;
}

function actionOf(place: CompletionPoint): string {
  switch (place.kind) {
    case 'directory':
      return '_directories';
    case 'file':
      return '_files';
    case 'source':
      return '_grace_sources';
    case 'command':
      return '_grace_commands';
    case 'choice':
      return `(${place.choices.join(' ')})`;
    case 'none':
      return ' ';
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
