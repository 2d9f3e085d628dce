import type { OpenEngine } from './rig.ts';
export function dialSuite(_openEngine: OpenEngine): void {}
