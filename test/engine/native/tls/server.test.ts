/** TLS of clients in the threads of the native engine. */
import { openNativeTls } from '../../native-engine.ts';
import { tlsServerSuite } from '../../tls-server-suite.ts';

if (process.platform === 'linux' && !('Deno' in globalThis)) tlsServerSuite(openNativeTls);
