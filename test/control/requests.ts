import type { Request } from '../../src/control/messages.ts';

const src = { typed: 'tcp:0:interface=127.0.0.1', absolute: 'tcp:0:interface=127.0.0.1' };
const dst = { typed: '127.0.0.1:9', absolute: '127.0.0.1:9' };

/** Requests as clients send them. Those for processes of the daemon come last, and `stop` and `restart` of a source or a program that there is not. */
export const requests: Request[] = [
  { command: 'ls', src },
  { command: 'ls', withAccepted: true },
  { command: 'status' },
  { command: 'export' },
  { command: 'metrics' },
  { command: 'start', src: { ...src, name: 'web' }, dst, check: false },
  { command: 'start', src, dst, check: { http: { path: '/', least: 200, most: 299, timeoutMs: 50, limitMs: 50 } } },
  { command: 'switch', src, dst, check: false, rollbackMs: 1, drainMs: 1, percent: 10 },
  { command: 'wait', src, everyMs: 100 },
  { command: 'close', src, client: '127.0.0.1', dst, idleMs: 1, ids: ['a'] },
  { command: 'hold', src, id: 'a', maxWaiting: 1, maxTimeMs: 10, drainMs: 0, timeoutMs: 10 },
  { command: 'release', src, id: 'a', timeoutMs: 10 },
  { command: 'stop', src, timeoutMs: 10 },
  { command: 'restart', exec: { file: '/nowhere/at/all', args: ['a'] }, timeoutMs: 100 },
  { command: 'connections', src },
  { command: 'rules-file', file: '/a', problem: 'b' },
  { command: 'keeper', path: '/nowhere/at/all' },
  {
    command: 'generation-connections',
    selection: { srcKey: 'a', dstKey: 'b', client: '127.0.0.1', idleMs: 1, ids: ['a'] },
  },
  { command: 'generation-close', selection: { ids: ['a'] } },
  { command: 'generation-drain', srcKey: 'a', keep: ['b'], overMs: 1 },
  { command: 'generation-report' },
  { command: 'generation-hold', src, srcKey: 'a', dst, isHeld: false },
  { command: 'generation-stop', srcKey: 'a', timeoutMs: 1 },
];
