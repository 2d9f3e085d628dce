import { parseClient } from '../endpoint/client.ts';
import { mustHearNames } from '../endpoint/hear-names.ts';
import { clientKey } from '../endpoint/identity.ts';
import { innerEndpoint } from '../endpoint/inner.ts';
import { mustNotLoop, placesWritten } from '../endpoint/loops.ts';
import type { HopAddress } from '../endpoint/loops.ts';
import type { ServerEndpoint } from '../endpoint/model.ts';
import { parseServer } from '../endpoint/server.ts';
import { suspectsAmong } from '../endpoint/suspects.ts';
import { GraceError } from '../error.ts';
import type { FileRule } from './rules-file.ts';

/**
 * Check what rules of a file are to one another, and each in itself: that none leads back to itself, as far as
 * addresses are written out in it, and that none asks for what its source cannot tell. Rejects with GraceError (exit
 * code 2), with the place of the rule.
 */
export async function mustFitTogether(rules: readonly FileRule[]): Promise<void> {
  const read = rules.map((rule) => {
    const dst = parseClient(rule.dst.absolute);
    return {
      rule,
      src: { typed: rule.src.typed, key: rule.listenKey, endpoint: parseServer(rule.src.absolute) },
      dst: { typed: rule.dst.typed, key: clientKey(dst), endpoint: dst },
    };
  });
  const isSuspect = suspectsAmong(read.map(({ src, dst }) => ({ src: src.endpoint, dsts: [dst.endpoint] })));
  const hops = read.flatMap((each) => {
    const address = addressOf(each.src.endpoint);
    return address ? [{ ...each, address }] : [];
  });
  const check = async (rule: FileRule, act: () => void | Promise<void>) => {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof GraceError)) throw error;
      const { message, hint } = error;
      throw new GraceError(`${rule.place}: ${message}`, { hint, code: 'ERR_GRACE_USAGE', cause: error });
    }
  };
  for (const { rule, src, dst } of read) await check(rule, () => mustHearNames(src, dst));
  for (const hop of hops)
    if (isSuspect({ src: hop.src.endpoint, dsts: [hop.dst.endpoint] }))
      await check(hop.rule, () => mustNotLoop(hop, hops, placesWritten));
}

/** Where a source listens, as far as its text alone tells; null: not at all. */
function addressOf(source: ServerEndpoint): HopAddress | null {
  const endpoint = innerEndpoint(source);
  if (endpoint.type === 'unix') return { family: 'unix', path: endpoint.address };
  if (!('interface' in endpoint) || endpoint.port === 0) return null;
  const { interface: host, port } = endpoint;
  return { family: 'inet', host: host === '' ? '0.0.0.0' : host === 'localhost' ? '127.0.0.1' : host, port };
}
