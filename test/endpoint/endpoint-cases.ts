import { readFileSync } from 'node:fs';

/**
 * A string and what Twisted makes of it: its normal form, or `error` with words of the reason, which
 * shows at `stage` (parsing, reading files, looking for inherited sockets). `better` is grace's own
 * answer where Twisted's is a known slip or grace knows more types. `$NAME` stands for a file.
 */
export type EndpointCase = {
  kind: 'server' | 'client';
  description: string;
  expect: Record<string, unknown>;
  stage?: 'parse' | 'files' | 'inherited';
  better?: Record<string, unknown>;
};

export function readEndpointCases(): EndpointCase[] {
  return JSON.parse(readFileSync(new URL('cases.json', import.meta.url), 'utf8'));
}
