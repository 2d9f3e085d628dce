import { openNativeEngine } from '../../src/engine/native/engine.ts';
import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import type { OpenEngine } from './rig.ts';

/** One thread, and no portable engine that would stand in for it unseen when it fails. */
export const openNative: OpenEngine = (options) =>
  openNativeEngine({ threads: 1, portable: openPortableEngine(options), onFailure });

function onFailure(error: Error): never {
  throw error;
}
