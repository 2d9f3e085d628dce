import type { TestContext } from 'node:test';
import { makePemFiles } from '../endpoint/pem.ts';
import type { PemFiles } from '../endpoint/pem.ts';
import { runtime } from './grace.ts';

/**
 * What has a source with TLS be the portable engine's, so that its connections stay with the old process at a restart:
 * a suite whose records are not the native engine's. On Deno all of them are.
 */
export const stays: string = runtime === 'deno' ? '' : ':ciphers=ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-ECDSA-AES128-SHA';

/** Certificates and keys of one test, removed after it. */
export function pemFiles(t: TestContext): PemFiles {
  const files = makePemFiles();
  t.after(() => files.remove());
  return files;
}
