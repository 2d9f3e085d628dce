import { commands } from '../../control/commands.ts';
import { everyOption, namesOf, optionsOf, placeOfArgument, placeOfValue, spellings } from './words.ts';
import type { CompletionPoint } from './words.ts';

/**
 * Completion for bash 3.2 (macOS) and newer, with and without the bash-completion package. Endpoints
 * are full of colons, at which bash breaks words: the line is read anew, and what stands before the
 * last colon is taken off what is offered.
 */
export function bashCompletion(): string {
  const valued = everyOption().filter((option) => option.value !== undefined);
  return `# Completion of grace for bash. Made by: grace completion bash
_grace() {
  local line=\${COMP_LINE:0:COMP_POINT} words word cur prev command='' args=0 i
  local -a dir=()
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  local last=$((\${#words[@]} - 1))
  cur=\${words[last]} prev=\${words[last - 1]}
  for ((i = 1; i < last; i++)); do
    word=\${words[i]}
    case $word in
      -d | --dir) dir=(-d "\${words[i + 1]}") ; ((i++)) ;;
      --dir=*) dir=(-d "\${word#*=}") ;;
      ${patterns(valued.filter(({ name }) => name !== 'dir').flatMap(spellings))}) ((i++)) ;;
      -*) ;;
      *) if [[ -z $command ]]; then command=$word; else ((args++)); fi ;;
    esac
  done
  COMPREPLY=()
  case $prev in
${valued.map((option) => `    ${patterns(spellings(option))}) ${offer(placeOfValue(option))}; return ;;`).join('\n')}
  esac
  case $cur in
    -*)
      case $command in
${commands.map((command) => `        ${patterns(namesOf(command))}) _grace_words ${quote(optionsOf(command).flatMap(spellings))} ;;`).join('\n')}
        *) _grace_words ${quote(optionsOf({ ...commands[0]!, options: [] }).flatMap(spellings))} ;;
      esac
      return ;;
  esac
  case $command:$args in
    :*) ${offer({ kind: 'command' })} ;;
${commands
  .flatMap((command) =>
    command.args.map(
      (argument, index) =>
        `    ${patterns(namesOf(command).map((name) => `${name}:${index}`))}) ${offer(placeOfArgument(command, argument))} ;;`,
    ),
  )
  .join('\n')}
  esac
}

# Offer those of the words that begin with what is typed.
_grace_words() {
  local IFS=$'\\n' reply
  COMPREPLY=($(compgen -W "\${1// /$'\\n'}" -- "$cur"))
  if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
    local colons=\${cur%"\${cur##*:}"}
    for reply in "\${!COMPREPLY[@]}"; do COMPREPLY[reply]=\${COMPREPLY[reply]#"$colons"}; done
  fi
}

_grace_files() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen "$1" -- "$cur"))
  compopt -o filenames 2>/dev/null # bash 3.2 has none
}

_grace_sources() {
  _grace_words "$("\${COMP_WORDS[0]}" "\${dir[@]}" ls 2>/dev/null | awk 'NR > 1 && !seen[$1]++ { print $1 }')"
}

complete -F _grace grace
`;
}

function offer(place: CompletionPoint): string {
  switch (place.kind) {
    case 'directory':
      return '_grace_files -d';
    case 'file':
      return '_grace_files -f';
    case 'source':
      return '_grace_sources';
    case 'command':
      return `_grace_words ${quote(commands.flatMap(namesOf))}`;
    case 'choice':
      return `_grace_words ${quote(place.choices)}`;
    case 'none':
      return ':';
  }
}

function quote(words: readonly string[]): string {
  return `'${words.join(' ')}'`;
}

function patterns(words: readonly string[]): string {
  return words.join(' | ');
}
