/** Options of sources that speak TLS, in the threads of the native engine. */
import { openNativeTls } from '../../native-engine.ts';
import { tlsOptionsSuite } from '../../tls-options-suite.ts';

if (process.platform === 'linux' && !('Deno' in globalThis)) tlsOptionsSuite(openNativeTls);
