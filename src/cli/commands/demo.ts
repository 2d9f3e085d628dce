import { mustNotBeEmpty } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { printLine } from '../output.ts';

/** `grace demo [--addresses LIST] [--tls-addresses LIST]` */
export async function run({ stdout, programs }: Context, input: Input): Promise<number> {
  return await programs.demo({
    addresses: readList(input, 'addresses'),
    tlsAddresses: readList(input, 'tls-addresses'),
    print: (line) => printLine(stdout, line),
  });
}

function readList(input: Input, option: string): string[] | undefined {
  const text = input.value(option);
  mustNotBeEmpty(text?.replaceAll(',', ''), { what: `option --${option}`, needs: 'addresses' });
  return text?.split(',').filter((each) => each !== '');
}
