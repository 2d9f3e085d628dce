import type { OpenEngine } from './rig.ts';
export function countSuite(_openEngine: OpenEngine): void {}
