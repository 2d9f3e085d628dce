/** Who is trusted by the threads of the native engine. */
import { openNativeTls } from '../../native-engine.ts';
import { tlsVerificationSuite } from '../../tls-verification-suite.ts';

if (process.platform === 'linux' && !('Deno' in globalThis)) tlsVerificationSuite(openNativeTls);
