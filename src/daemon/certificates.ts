/** What is to be said of the certificates of a rule: that they have expired, or soon do, or that nobody can use them. */
import { checkClient, checkServer } from '../endpoint/check.ts';
import { innerEndpoint } from '../endpoint/inner.ts';
import type { RuleSpec } from '../forward/rule.ts';
import type { Log } from './log.ts';

/** Look at the certificates that a rule has on disk and log what is to be said of them; returns it, for the client that asked. */
export function tellOfCertificates({ src, dst }: RuleSpec, log: Log): string[] {
  const { type } = innerEndpoint(src.endpoint);
  const warnings = [
    ...(type === 'ssl' || type === 'tls' ? lookAt(() => checkServer(src.endpoint)) : []),
    ...lookAt(() => checkClient(dst.endpoint)),
  ];
  for (const warning of warnings) log.warn({ src: src.typed, dst: dst.typed }, warning);
  return warnings;
}

function lookAt(check: () => string[]): string[] {
  try {
    return check();
  } catch {
    return []; // whoever opens the endpoint has said so, and goes on with what it had
  }
}
