import type { TestContext } from 'node:test';
import { makePemFiles } from '../endpoint/pem.ts';
import type { PemFiles } from '../endpoint/pem.ts';

/** Certificates and keys of one test, removed after it. */
export function pemFiles(t: TestContext): PemFiles {
  const files = makePemFiles();
  t.after(() => files.remove());
  return files;
}
