import { openNativeEngine } from '../../src/engine/native/engine.ts';
import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import { engineSuite } from './suite.ts';

engineSuite((options) => openNativeEngine({ threads: 1, portable: openPortableEngine(options) }));
