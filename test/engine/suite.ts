/** What every engine has to do, as tests. A file for an engine calls this with what opens it. */
import { acceptSuite } from './accept-suite.ts';
import { countSuite } from './count-suite.ts';
import { dialSuite } from './dial-suite.ts';
import { relaySuite } from './relay-suite.ts';
import type { OpenEngine } from './rig.ts';
import { tlsClientSuite } from './tls-client-suite.ts';
import { tlsServerSuite } from './tls-server-suite.ts';

export function engineSuite(openEngine: OpenEngine): void {
  relaySuite(openEngine);
  dialSuite(openEngine);
  acceptSuite(openEngine);
  tlsServerSuite(openEngine);
  tlsClientSuite(openEngine);
  countSuite(openEngine);
}
