import { GraceError } from '../../error.ts';
import type { Supervisor } from './supervisor.ts';

/** Nobody watches: the pid changes with a restart, and a crash is for whoever started the daemon to notice. */
export const unsupervised: Supervisor = {
  keeper: null,
  lostKeeper: null,
  succeed() {},
  reason: null,
  takeStored: () => [],
  store() {},
  forget() {},
  settled: () => Promise.resolve(),
  keepsOverStop: false,
  ready: () => Promise.resolve(),
  serving() {},
  status() {},
  restarting() {},
  prepareSuccessor: () => ({ fds: [], env: {}, close() {} }),
  handOver() {},
  rollback() {},
  replaced: ({ pid, isStopping }) => {
    if (isStopping) process.kill(pid, 'SIGTERM');
  },
  stopping() {},
  ended() {},
  restore: () => Promise.resolve(),
  attach() {
    throw new GraceError(`a daemon already runs there (pid ${process.pid})`, {
      hint: 'replace it with: grace restart, or end it with: grace stop',
    });
  },
  watch() {},
};
