import type { OpenEngine } from './rig.ts';
export function tlsServerSuite(_openEngine: OpenEngine): void {}
