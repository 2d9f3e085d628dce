import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import { engineSuite } from './suite.ts';

engineSuite(openPortableEngine);
