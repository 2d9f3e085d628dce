/** TLS of destinations in the threads of the native engine. */
import { openNativeTls } from '../../native-engine.ts';
import { tlsClientSuite } from '../../tls-client-suite.ts';

if (process.platform === 'linux' && !('Deno' in globalThis)) tlsClientSuite(openNativeTls);
