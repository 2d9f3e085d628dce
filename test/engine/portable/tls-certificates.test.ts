/** Which certificates are taken by the portable engine. */
import { openPortableEngine } from '../../../src/engine/portable/engine.ts';
import { tlsCertificateSuite } from '../tls-certificate-suite.ts';

tlsCertificateSuite(openPortableEngine, { saysWhy: false });
