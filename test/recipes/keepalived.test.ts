import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../until.ts';
import { askVisitor, networkObstacle, ownNetwork } from './network.ts';
import { blocksOf, directory, makePlace, openShell } from './recipe.ts';

const vip = '10.77.0.100';
const machines = { one: '10.77.0.1', two: '10.77.0.2' };
const names = Object.keys(machines) as (keyof typeof machines)[];

/** Two machines on a bridge, whose own side is the client's. All of it goes with the shell, in whose namespaces it is. */
const network = `
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
ip link set lo up
ip link add name bridge0 type bridge
ip link set dev bridge0 up
ip addr add 10.77.0.10/24 dev bridge0
machine() {
  ip netns add "$1"
  ip link add name "to-$1" type veth peer name eth0 netns "$1"
  ip link set dev "to-$1" master bridge0 up
  ip -n "$1" link set lo up
  ip -n "$1" link set eth0 up
  ip -n "$1" addr add "$2/24" dev eth0
}
${names.map((name) => `machine ${name} ${machines[name]}`).join('\n')}`;

test(
  'the recipe for keepalived: the address moves before grace stops',
  { timeout: 180_000, skip: networkObstacle(['keepalived']) },
  async (t) => {
    const { env, path } = makePlace(t);
    const state = (name: string) => join(path, `state-${name}`);
    const shell = openShell(t, {
      env: { ...env, VIP: vip, DST: '10.77.0.10:7000' },
      by: ownNetwork,
    });
    await shell.run(network);

    const socket = join(path, 'visitor');
    const visitor = join(import.meta.dirname, 'fixtures/visitor.ts');
    await shell.run(`"${process.execPath}" "${visitor}" ${vip} 80 10.77.0.10 7000 "${socket}" >/dev/null 2>&1 &`);
    const ask = (word: 'look' | 'reset') => askVisitor(socket, word);
    const isServedBy = (name: keyof typeof machines) =>
      until(
        () => `${vip} is served by ${name}`,
        async () => (await ask('look').catch(() => null))?.last === machines[name],
        { limitMs: 60_000 },
      );

    const [setUp = '', announce = '', ...more] = blocksOf('Two machines, one address (keepalived)');
    assert.deepEqual(more, []);
    /** What stands on the page, as it is run on a machine. */
    const on = (name: string, commands: string) =>
      shell.run(
        `ip netns exec ${name} env MACHINE=${name} CONF="${path}/${name}.conf" GRACE_DIR="${state(name)}" bash -euc '${commands}'`,
      );
    for (const name of names) {
      const conf = readFileSync(join(directory, 'keepalived.conf'), 'utf8');
      writeFileSync(
        join(path, `${name}.conf`),
        conf.replaceAll('192.0.2.100', vip).replaceAll('/var/lib/grace', state(name)),
        { mode: 0o644 },
      );
      const own = setUp.replace('keepalived ', `keepalived --pid /run/${name}.pid --vrrp_pid /run/${name}-vrrp.pid `);
      assert.match(await on(name, own), /^Started\n/);
    }
    t.after(() => Promise.all(names.map((name) => on(name, 'grace stop --now').catch(() => {}))));

    await isServedBy('one');
    await ask('reset');
    const announced = on('one', announce.replace('--announce 3s', '--announce 3s --timeout 1s'));
    await isServedBy('two');
    assert.match(await announced, /^Stopped\n/);
    const moved = await ask('reset');
    assert.equal(moved.failures['ECONNREFUSED connect'] ?? 0, 0, JSON.stringify(moved));

    await on(
      'one',
      setUp
        .split('\n')
        .filter((line) => !line.startsWith('keepalived'))
        .join('\n'),
    );
    await isServedBy('one');
    const returned = await ask('reset');
    assert.equal(returned.failures['ECONNREFUSED connect'] ?? 0, 0, JSON.stringify(returned));

    const before = await ask('look');
    assert.equal(before.last, machines.one);
    await on('one', 'keeper=$(cat "$GRACE_DIR/grace.pid"); kill -9 "$keeper" $(pgrep -P "$keeper")');
    await isServedBy('two');
    const { maxGapMs } = await ask('reset');
    assert.ok(maxGapMs < 3500, `the address was without an answer for ${maxGapMs} ms`);
    t.diagnostic(
      `stop --announce: ${JSON.stringify(moved)}; back: ${JSON.stringify(returned)}; kill -9: ${Math.round(maxGapMs)} ms`,
    );
  },
);
