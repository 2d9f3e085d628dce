import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeFd, dupFd, isCloseOnExec, markIfOpen, setCloseOnExec } from '../../src/sys/descriptor.ts';

test(
  'marking a descriptor that was closed meanwhile is no error, and one that is open is marked',
  { timeout: 60_000 },
  () => {
    // A number that no thread of the runtime gets in the meantime.
    const fd = dupFd(2, 900);
    markIfOpen(fd, false);
    assert.equal(isCloseOnExec(fd), false);
    closeFd(fd);
    markIfOpen(fd, true);
    assert.throws(() => setCloseOnExec(fd, true), { code: 'EBADF' });
  },
);
