import { openNativeEngine } from '../../src/engine/native/engine.ts';
import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import { engineSuite } from './suite.ts';

/** A thread that fails would be stood in for by the portable engine, and no test would see it. */
function onFailure(error: Error): never {
  throw error;
}

if (process.platform === 'linux') {
  engineSuite((options) => openNativeEngine({ threads: 1, portable: openPortableEngine(options), onFailure }));
}
