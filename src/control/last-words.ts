/** A line of a stack, of JavaScript (`at …`) or of the program (`7: 0x8ae86e _start […]`), or what is drawn around one. */
const frame = /^\s*(at .*|[0-9]+: 0x[0-9a-f]+.*|-{3,}.*|#?)$/;

/** The last lines that a process wrote to standard error before it ended, on one line and without the stack; undefined when there are none. */
export function lastWords(text: string): string | undefined {
  const lines = text
    .split('\n')
    .filter((line) => !frame.test(line))
    .map((line) => line.trim());
  return lines.slice(-3).join(' | ') || undefined;
}
