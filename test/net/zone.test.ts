import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

/** In a network of its own: an interface with an address that is valid everywhere before the one that has a zone. */
const script = `
set -e
ip link set lo up; ip link add v0 type veth peer name v1; ip link set v0 addrgenmode none; ip link set v1 up; ip link set v0 up
ip -6 addr add 2001:db8::1/64 dev v0 nodad; ip -6 addr add fe80::1/64 dev v0 nodad
exec "$@"`;
const program = `
const { openListener } = await import(${JSON.stringify(new URL('../../src/net/open.ts', import.meta.url).href)});
const { address } = await openListener({ kind: 'tcp', host: 'fe80::1%v0', port: 0, backlog: 1 }, { name: 'x' });
console.log(address.host);`;

test('a zone is found on an interface that has other IPv6 addresses too', { timeout: 60_000 }, (t) => {
  if (process.platform !== 'linux' || spawnSync('unshare', ['-rn', 'ip', 'link']).status !== 0)
    return t.skip('needs a network of its own, and iproute2');
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
  const { stdout, stderr } = spawnSync('unshare', ['-rn', 'bash', '-c', script, 'bash', ...node], { encoding: 'utf8' });
  assert.equal(stdout, 'fe80::1\n', stderr);
});
