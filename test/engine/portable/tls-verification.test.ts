/** Who is trusted by the portable engine. */
import { openPortableEngine } from '../../../src/engine/portable/engine.ts';
import { tlsVerificationSuite } from '../tls-verification-suite.ts';

tlsVerificationSuite(openPortableEngine);
