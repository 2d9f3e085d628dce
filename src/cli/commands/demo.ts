import { GraceError } from '../../error.ts';
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
  const addresses = input
    .value(option)
    ?.split(',')
    .filter((each) => each !== '');
  if (addresses?.length !== 0) return addresses;
  throw new GraceError(`option --${option} needs addresses, not an empty text`, { code: 'ERR_GRACE_USAGE' });
}
