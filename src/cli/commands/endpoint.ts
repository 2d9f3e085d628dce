import { checkClient, checkServer } from '../../endpoint/check.ts';
import { parseClient } from '../../endpoint/client.ts';
import { explainClient, explainServer, toJson } from '../../endpoint/describe.ts';
import type { Explanation } from '../../endpoint/parameter.ts';
import type { ClientEndpoint, ServerEndpoint } from '../../endpoint/model.ts';
import { resolvePaths } from '../../endpoint/paths.ts';
import { parseServer } from '../../endpoint/server.ts';
import { longForm } from '../../endpoint/short.ts';
import type { Side } from '../../endpoint/short.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { argument } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { visible } from '../../one-line.ts';
import { printJson, printLine, printNote } from '../output.ts';

/** `grace endpoint server|client STRING [--json]` */
export async function run(context: Context, input: Input): Promise<number> {
  const text = argument(input, 1);
  const side = argument(input, 0) === 'server' ? 'server' : 'client';
  const read = side === 'server' ? readServer : readClient;
  try {
    const { endpoint: meaning, warnings, advice, rows } = read(text, context);
    // Advice is for people: a program that asks what a string means has no use for it.
    for (const note of input.has('json') ? warnings : [...warnings, ...advice]) printNote(context, note);
    if (input.has('json')) printJson(context, toJson(meaning));
    else printLine(context.stdout, formatExplanation([...longRow(text, side), ...rows]));
    return 0;
  } catch (error) {
    if (input.has('json') && error instanceof GraceError) {
      printJson(context, { error: errorMessage(error) });
      error.isAnswered = true;
    }
    throw error;
  }
}

/** What a short form stands for. */
function longRow(text: string, side: Side): Explanation[] {
  const long = longForm(text, side);
  return long === null ? [] : [{ name: 'endpoint', value: long, meaning: 'the long form' }];
}

type Meaning = {
  endpoint: ServerEndpoint | ClientEndpoint;
  warnings: readonly string[];
  advice: readonly string[];
  rows: readonly Explanation[];
};

function readServer(text: string, { cwd, env }: Context): Meaning {
  const endpoint = parseServer(text);
  // The sockets of systemd are for the process that is going to serve, which this one is not.
  const advice: string[] = [];
  const warnings = checkServer(resolvePaths(endpoint, cwd), {
    text,
    env,
    isServing: false,
    advise: (each) => void advice.push(each),
  });
  return { endpoint, warnings, advice, rows: explainServer(endpoint) };
}

function readClient(text: string, { cwd }: Context): Meaning {
  const endpoint = parseClient(text);
  const advice: string[] = [];
  const warnings = checkClient(resolvePaths(endpoint, cwd), { text, advise: (each) => void advice.push(each) });
  return { endpoint, warnings, advice, rows: explainClient(endpoint) };
}

/** `port       8080       TCP port`, a line a parameter; a long value does not push the others aside. */
function formatExplanation(rows: readonly Explanation[]): string {
  const nameWidth = Math.max(...rows.map(({ name }) => name.length));
  const valueWidth = Math.min(24, Math.max(...rows.map(({ value }) => visible(value).length)));
  return rows
    .map(
      ({ name, value, meaning }) =>
        `${name.padEnd(nameWidth)}  ${visible(value).padEnd(valueWidth)}  ${visible(meaning)}`,
    )
    .join('\n');
}
