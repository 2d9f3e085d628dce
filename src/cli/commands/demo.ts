import type { Context, Input } from '../context.ts';
import { printLine } from '../output.ts';

/** `grace demo [--addresses LIST] [--tls-addresses LIST]` */
export async function run({ stdout, programs }: Context, input: Input): Promise<number> {
  return await programs.demo({
    addresses: readList(input.value('addresses')),
    tlsAddresses: readList(input.value('tls-addresses')),
    print: (line) => printLine(stdout, line),
  });
}

function readList(text: string | undefined): string[] | undefined {
  return text === undefined ? undefined : text.split(',').filter((each) => each !== '');
}
