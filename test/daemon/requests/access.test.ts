import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import type { Request } from '../../../src/control/messages.ts';
import {
  executableFor,
  mustBeAllowed,
  shareSocket,
  shareStateDir,
  withUser,
} from '../../../src/daemon/requests/access.ts';
import { GraceError } from '../../../src/error.ts';
import { findGroup } from '../../../src/sys/group.ts';
import { makeTempDir } from '../../net/temp-dir.ts';

const self = { file: process.execPath, args: ['own'] };
const shared = { self, socketGroup: 7 };
const member = { pid: 1, uid: 65_533, gid: 1 };
const restart = (file: string): Request<'restart'> => ({
  command: 'restart',
  exec: { file, args: ['-e', '0'] },
  timeoutMs: 1,
});

test('members of the group may command the daemon, and not have it execute something else', () => {
  const requests: Request[] = [
    { command: 'ls' },
    { command: 'status' },
    { command: 'stop', timeoutMs: 0 },
    { command: 'generation-report' },
    restart(process.execPath),
  ];
  for (const request of requests) mustBeAllowed(request, member, shared);
  for (const request of [
    restart('/bin/sh'),
    restart('/nowhere'),
    { command: 'keeper', path: '/x' },
    { command: 'generation-stop', timeoutMs: 0 },
  ] satisfies Request[]) {
    assert.throws(
      () => mustBeAllowed(request, member, shared),
      /is for root and the daemon's own user alone, not for the user with id 65533$/,
    );
    for (const peer of [
      { ...member, uid: 0 },
      { ...member, uid: process.geteuid!() },
    ])
      mustBeAllowed(request, peer, shared);
    // Where no group may connect, the socket's mode has decided; where one may, nobody is taken for the owner unseen.
    mustBeAllowed(request, null, { ...shared, socketGroup: null });
    assert.throws(() => mustBeAllowed(request, null, shared), /not for a user whom the system does not tell$/);
  }
  // Its arguments are none of theirs either.
  assert.deepEqual(executableFor(restart(process.execPath), member, shared), self);
  assert.deepEqual(executableFor(restart(process.execPath), null, shared), self);
  assert.deepEqual(executableFor(restart('/bin/sh'), { ...member, uid: 0 }, shared), restart('/bin/sh').exec);
});

test('a group is found by its name and its number', { skip: process.platform === 'win32' }, () => {
  assert.equal(findGroup('root') ?? findGroup('wheel'), 0);
  assert.equal(findGroup('12345'), 12_345);
  for (const name of ['', 'no-such-group-here', '-1', '4294967295', 'root:x', '../etc'])
    assert.equal(findGroup(name), null, name);
});

test('a state dir is opened to a group, and closed without one', () => {
  using temp = makeTempDir();
  const own = process.getegid!();
  const mode = () => (statSync(temp.path).mode & 0o777).toString(8);
  shareStateDir(temp.path, own);
  assert.equal(mode(), '710');
  shareStateDir(temp.path, null);
  assert.equal(mode(), '700');
  assert.throws(
    () => shareSocket(temp.file('none'), own),
    /^GraceError: cannot give .*none to the group \d+ \(--socket-group\): .*ENOENT/,
  );
});

test('who is told that permission is denied, and is another user, hears whose it is', () => {
  const denied = new GraceError('cannot listen on unix:/run/x: permission denied (EACCES)');
  const { hint } = withUser(denied, member) as GraceError;
  assert.match(
    hint ?? '',
    new RegExp(`^the daemon runs as the user .*\\(${process.geteuid!()}\\), whom it is denied to$`),
  );
  for (const [error, peer] of [
    [denied, null],
    [denied, { ...member, uid: process.geteuid!() }],
    [new GraceError('something else'), member],
  ] as const)
    assert.equal(withUser(error, peer), error);
});
