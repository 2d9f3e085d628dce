/** TLS with the native engine, which leaves it to the portable one. */
import { openNative } from '../native-engine.ts';
import { tlsSuite } from '../suite.ts';

if (process.platform === 'linux') tlsSuite(openNative);
