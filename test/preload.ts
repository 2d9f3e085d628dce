/**
 * What `npm test` loads before each test file. Nothing depends on it: a file that is run alone, without it,
 * passes too, and takes longer.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { before } from 'node:test';

// Each engine that a test makes starts threads, and each of them would strip and compile a hundred files again.
enableCompileCache(join(import.meta.dirname, '../node_modules/.cache/compile'));

// By this variable the runner tells a file's process how to report. Node reads it as it starts, so that the
// executable, in whose environment it came, would begin again without it (src/environment.ts), twice the work
// of a short command. The first call of the runner has it read here, and then nobody needs it.
if (isMainThread && process.env['NODE_TEST_CONTEXT'] !== undefined) {
  before(() => undefined);
  delete process.env['NODE_TEST_CONTEXT'];
}
