/** A program: says of each descriptor number in its arguments whether `fd:` accepts it. */
import { checkServer } from '../../src/endpoint/check.ts';
import { EndpointError } from '../../src/endpoint/error.ts';

for (const argument of process.argv.slice(2)) {
  try {
    checkServer({ type: 'fd', fd: Number(argument) });
    console.log(`fd:${argument} accepted`);
  } catch (error) {
    if (!(error instanceof EndpointError)) throw error;
    console.log(`fd:${argument} refused`);
  }
}
