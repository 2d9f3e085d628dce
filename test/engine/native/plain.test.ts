import { openNative } from '../native-engine.ts';
import { plainSuite } from '../suite.ts';

if (process.platform === 'linux') plainSuite(openNative);
