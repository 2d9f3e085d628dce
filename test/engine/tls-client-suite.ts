import type { OpenEngine } from './rig.ts';
export function tlsClientSuite(_openEngine: OpenEngine): void {}
