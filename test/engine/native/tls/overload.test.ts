/** Too many handshakes at once, with the threads of the native engine. */
import { openNativeTls } from '../../native-engine.ts';
import { tlsOverloadSuite } from '../../tls-overload-suite.ts';

if (process.platform === 'linux' && !('Deno' in globalThis)) tlsOverloadSuite(openNativeTls);
