/** What every engine has to do, as tests. A file for an engine calls these with what opens it. */
import { acceptSuite } from './accept-suite.ts';
import { countSuite } from './count-suite.ts';
import { dialSuite } from './dial-suite.ts';
import { limitSuite } from './limit-suite.ts';
import { listSuite } from './list-suite.ts';
import { headerSuite } from './header-suite.ts';
import { holdSuite } from './hold-suite.ts';
import { relaySuite } from './relay-suite.ts';
import { reasonSuite } from './reason-suite.ts';
import type { OpenEngine } from './rig.ts';
import { sniSuite } from './sni-suite.ts';
import { tlsClientSuite } from './tls-client-suite.ts';
import { tlsServerSuite } from './tls-server-suite.ts';

export function plainSuite(openEngine: OpenEngine): void {
  relaySuite(openEngine);
  dialSuite(openEngine);
  acceptSuite(openEngine);
  limitSuite(openEngine);
  countSuite(openEngine);
  reasonSuite(openEngine);
  listSuite(openEngine);
  holdSuite(openEngine);
  headerSuite(openEngine);
  sniSuite(openEngine);
}

export function tlsSuite(openEngine: OpenEngine): void {
  tlsServerSuite(openEngine);
  tlsClientSuite(openEngine);
}
