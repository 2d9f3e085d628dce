import { isRuleName } from '../control/rule-name.ts';
import { parseClient } from '../endpoint/client.ts';
import { resolvePaths } from '../endpoint/paths.ts';
import { printClient, printServer } from '../endpoint/print.ts';
import { serverKey } from '../endpoint/identity.ts';
import { parseServer } from '../endpoint/server.ts';
import type { EndpointText } from '../control/shapes.ts';
import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';

/** SRC, or the name of a rule, as the daemon takes it. Throws EndpointError, or GraceError for a source that no daemon can serve (exit code 2). */
export function readSource(typed: string, cwd: string): EndpointText {
  if (isRuleName(typed)) return { typed, absolute: typed };
  const endpoint = parseServer(typed);
  if (endpoint.type === 'stdio') {
    throw new GraceError(
      `cannot forward ${quoted(typed)}: the daemon in the background has no standard input of yours`,
      {
        hint: 'listen on tcp: or unix: instead',
        code: 'ERR_GRACE_USAGE',
      },
    );
  }
  return { typed, absolute: printServer(resolvePaths(endpoint, cwd)) };
}

/** DST as the daemon takes it. Throws EndpointError (exit code 2). */
export function readDestination(typed: string, cwd: string): EndpointText {
  return { typed, absolute: printClient(resolvePaths(parseClient(typed), cwd)) };
}

/** Equal for sources that mean the same. Throws EndpointError (exit code 2). */
export function sourceKey(typed: string, cwd: string): string {
  return serverKey(resolvePaths(parseServer(typed), cwd));
}

/** Both endpoints of a rule. Throws as {@link readSource} and {@link readDestination}; the hint has the right line when the two are swapped. */
export function readPair({ command, src, dst, cwd }: { command: string; src: string; dst: string; cwd: string }): {
  src: EndpointText;
  dst: EndpointText;
} {
  try {
    // A rule that is to start has no name yet.
    if (command === 'start') parseServer(src);
    return { src: readSource(src, cwd), dst: readDestination(dst, cwd) };
  } catch (error) {
    if (!canRead(() => parseClient(src)) || !canRead(() => parseServer(dst)) || isMeantAsDestination(dst, src))
      throw error;
    throw new GraceError(
      `SRC and DST are swapped: ${quoted(src)} says where to connect, ${quoted(dst)} where to listen`,
      {
        hint: `grace ${command} '${dst}' '${src}'`,
        code: 'ERR_GRACE_USAGE',
        cause: error,
      },
    );
  }
}

/**
 * Whether a DST is wrong rather than in the wrong place: a URL says where to connect, whatever can be read into it, and a
 * port alone does where SRC is a source.
 */
function isMeantAsDestination(dst: string, src: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(dst) || (/^[0-9]+$/.test(dst) && canRead(() => parseServer(src)));
}

function canRead(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch {
    return false; // what is wrong with it is said by the first error
  }
}
