import { openNativeEngine } from '../../src/engine/native/engine.ts';
import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import type { OpenEngine } from './rig.ts';

/** One thread, and no portable engine that would stand in for it unseen when it fails. */
export const openNative: OpenEngine = (options) =>
  openNativeEngine({ threads: 1, portable: openPortableEngine(options), onFailure });

/** The same, but that TLS is the threads' as well. */
export const openNativeTls: OpenEngine = (options = {}) => {
  const portable = openPortableEngine(options);
  const engine = openNativeEngine({
    ...options,
    threads: 1,
    tls: true,
    portable,
    onFailure,
    onTlsUnusable,
  });
  if (!engine.speaksTls) throw new Error('the threads have no TLS');
  return engine;
};

function onTlsUnusable(why: string): never {
  throw new Error(why);
}

function onFailure(error: Error): never {
  throw error;
}
