import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../until.ts';
import { askVisitor, networkObstacle, ownNetwork } from './network.ts';
import { blocksOf, directory, makePlace, openShell } from './recipe.ts';

const vip = '10.77.1.100';
const machines = { one: '10.77.0.11', two: '10.77.0.12' };
const names = Object.keys(machines) as (keyof typeof machines)[];

/** Clients, and the backend beside them; a router; two machines behind it on a bridge, so that it does not see their links fail. */
const network = `
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/bird
ip link set lo up
ip netns add router
ip link add name to-router type veth peer name eth0 netns router
ip link set to-router up
ip addr add 10.78.0.10/24 dev to-router
ip route add default via 10.78.0.1
ip -n router link add name bridge0 type bridge
for device in lo eth0 bridge0; do ip -n router link set "$device" up; done
ip -n router addr add 10.78.0.1/24 dev eth0
ip -n router addr add 10.77.0.1/24 dev bridge0
ip netns exec router sysctl -qw net.ipv4.ip_forward=1
machine() {
  ip netns add "$1"
  ip -n router link add name "to-$1" type veth peer name eth0 netns "$1"
  ip -n router link set dev "to-$1" master bridge0 up
  ip -n "$1" link set lo up
  ip -n "$1" link set eth0 up
  ip -n "$1" addr add "$2/24" dev eth0
  ip -n "$1" route add default via 10.77.0.1
}
${names.map((name) => `machine ${name} ${machines[name]}`).join('\n')}`;

test(
  'the recipe for ECMP: a machine is announced while its grace serves, and withdrawn before it stops',
  { timeout: 180_000, skip: networkObstacle(['bird', 'exabgp', 'python3', 'flock']) },
  async (t) => {
    const { env, path } = makePlace(t);
    const state = (name: string) => join(path, `state-${name}`);
    const shell = openShell(t, { env: { ...env, VIP: vip, DST: '10.78.0.10:7000' }, by: ownNetwork });
    await shell.run(network);
    const configure = (from: string, to: string, own: Record<string, string> = {}) => {
      let text = readFileSync(join(directory, from), 'utf8');
      const all: Record<string, string> = {
        ...own,
        '192.0.2.100': vip,
        '192.0.2.11': machines.one,
        '192.0.2.12': machines.two,
        '192.0.2.1': '10.77.0.1',
        '/etc/exabgp/ready.sh': join(directory, 'ready.sh'),
      };
      for (const [old, mine] of Object.entries(all)) text = text.replaceAll(old, mine);
      writeFileSync(join(path, to), text);
      return join(path, to);
    };

    const socket = join(path, 'visitor');
    const visitor = join(import.meta.dirname, 'fixtures/visitor.ts');
    await shell.run(`"${process.execPath}" "${visitor}" ${vip} 80 10.78.0.10 7000 "${socket}" >/dev/null 2>&1 &`);

    const [router = '', setUp = '', announce = '', ...more] = blocksOf('One address on many machines (ECMP)');
    assert.deepEqual(more, []);
    const onRouter = router.replace('/etc/bird/bird.conf', configure('bird.conf', 'bird.conf'));
    await shell.run(`ip netns exec router bash -euc '${onRouter}'`);
    /** What stands on the page, as it is run on a machine. */
    const on = (name: keyof typeof machines, commands: string) => {
      const own = name === 'one' ? {} : { 'router-id 192.0.2.11': `router-id ${machines.two}` };
      const conf = configure('exabgp.conf', `${name}.conf`, {
        ...own,
        'local-address 192.0.2.11': `local-address ${machines[name]}`,
        '/var/lib/grace': state(name),
      });
      return shell.run(
        `ip netns exec ${name} env CONF="${conf}" GRACE_DIR="${state(name)}" exabgp.api.cli=false bash -euc '${commands}'`,
      );
    };
    const start = setUp
      .split('\n')
      .filter((line) => !line.includes('exabgp '))
      .join('\n');
    /** When the router sends to these, and no others, after so many ms. */
    const isSentTo = async (...wanted: (keyof typeof machines)[]) => {
      const from = performance.now();
      await until(
        () => `${vip} is sent to ${wanted.join(' and ')}`,
        async () => {
          const route = await shell.run(`ip -n router route show ${vip}`);
          return names.every((name) => route.includes(`via ${machines[name]} `) === wanted.includes(name));
        },
        { limitMs: 60_000 },
      );
      return Math.round(performance.now() - from);
    };
    const refused = (failures: Record<string, number>) => failures['ECONNREFUSED connect'] ?? 0;

    for (const name of names)
      assert.match(
        await on(name, setUp.replace(/(exabgp .*)$/m, `$1 >${join(path, `${name}.log`)} 2>&1 &`)),
        /^Started\n/,
      );
    await isSentTo('one', 'two');
    await until('both machines answer', async () => {
      const { answers } = await askVisitor(socket, 'look');
      return names.every((name) => (answers[machines[name]] ?? 0) > 0);
    });

    await askVisitor(socket, 'reset');
    await on('two', 'grace restart');
    const restarted = await askVisitor(socket, 'reset');
    assert.deepEqual(restarted.failures, {});

    // Longer than on the page, for a machine that is busy with other tests; cut short below.
    const patient = announce.trim().replace('3s', '60s');
    assert.notEqual(patient, announce.trim());
    await shell.run(`ip netns exec one env GRACE_DIR="${state('one')}" ${patient} >/dev/null 2>&1 & announcing=$!`);
    await until('ready says 0', () => readFileSync(join(state('one'), 'ready'), 'utf8') === '0\n');
    const withdrawnMs = await isSentTo('two');
    assert.match(await on('one', 'grace ls web'), / active /); // it still serves those that are on their way
    assert.match(await on('one', 'grace stop --now'), /^Stopped\n/);
    await shell.run('wait "$announcing" 2>/dev/null || true');
    const stopped = await askVisitor(socket, 'reset');
    assert.equal(refused(stopped.failures), 0, JSON.stringify(stopped));

    await on('one', start);
    const announcedMs = await isSentTo('one', 'two');
    const returned = await askVisitor(socket, 'reset');
    assert.equal(refused(returned.failures), 0, JSON.stringify(returned));

    await on('one', 'keeper=$(cat "$GRACE_DIR/grace.pid"); kill -9 "$keeper" $(pgrep -P "$keeper")');
    const killedMs = await isSentTo('two');
    const killed = await askVisitor(socket, 'reset');
    assert.ok(killedMs < 5000, `a machine without grace was sent to for ${killedMs} ms`);

    await on('one', start);
    await isSentTo('one', 'two');
    await askVisitor(socket, 'reset');
    await shell.run('ip -n two link set dev eth0 down');
    const deadMs = await isSentTo('one');
    assert.ok(deadMs < 10_000, `a machine without a network was sent to for ${deadMs} ms`);
    const before = (await askVisitor(socket, 'reset')).answers[machines.one] ?? 0;
    assert.ok(before > 0);
    t.diagnostic(JSON.stringify({ restarted, withdrawnMs, stopped, announcedMs, returned, killedMs, killed, deadMs }));
  },
);
