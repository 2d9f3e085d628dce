import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import { plainSuite, tlsSuite } from './suite.ts';

plainSuite(openPortableEngine);
tlsSuite(openPortableEngine);
