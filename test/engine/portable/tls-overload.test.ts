/** Too many handshakes at once, with the portable engine. */
import { openPortableEngine } from '../../../src/engine/portable/engine.ts';
import { tlsOverloadSuite } from '../tls-overload-suite.ts';

tlsOverloadSuite(openPortableEngine);
