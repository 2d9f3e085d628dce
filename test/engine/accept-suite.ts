import type { OpenEngine } from './rig.ts';
export function acceptSuite(_openEngine: OpenEngine): void {}
