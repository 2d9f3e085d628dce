/** Which certificates are taken by the threads of the native engine. */
import { openNativeTls } from '../../native-engine.ts';
import { tlsCertificateSuite } from '../../tls-certificate-suite.ts';

if (process.platform === 'linux' && !('Deno' in globalThis)) tlsCertificateSuite(openNativeTls, { saysWhy: true });
