/** Rules that are kept in etcd, a real one. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { makeCertificate, makePemFiles } from '../endpoint/pem.ts';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { startEtcd, withoutEtcd } from './etcd-server.ts';
import type { Etcd } from './etcd-server.ts';
import { makeGrace, ownLoopback } from './grace.ts';
import type { Grace, Running } from './grace.ts';

const options = { timeout: 180_000, skip: withoutEtcd };
const key = '/grace/rules';

/** What the tests put into etcd; each machine has a place of its own. */
const ruleTo = (dst: string) => `rules:\n  - {name: web, src: 'unix:\${PLACE}/a', dst: '${dst}'}\n`;

/** An etcd with rules for the first of two backends. */
async function startAll(t: TestContext, rulesTo: (dst: string) => string = ruleTo) {
  const etcd = await startEtcd(t);
  const [blue, green] = [await startBackend(t, 'blue'), await startBackend(t, 'green')];
  await etcd.put(key, rulesTo(blue.endpoint));
  return { etcd, blue, green };
}

/** A grace, and a place of its own for the sockets of its rules. */
function makePlacedGrace(t: TestContext, env: NodeJS.ProcessEnv = {}): { grace: Grace; place: string } {
  const place = mkdtempSync(join(tmpdir(), 'grace-etcd-place-'));
  const grace = makeGrace(t, { PLACE: place, ...env });
  t.after(() => rmSync(place, { recursive: true, force: true }));
  return { grace, place };
}

/** A grace whose rules are followed. */
type Machine = {
  grace: Grace;
  path: string;
  watching: Running;
  /** Resolves when the command has printed it. */
  said(text: string): Promise<void>;
  /** Resolves when it has printed something like it since the last time. */
  told(what: RegExp): Promise<void>;
  /** Who answers a new connection. */
  who(): Promise<string>;
  /** What status says of the rules' source. */
  source(): Promise<{ staleSince?: string; problem?: string } | undefined>;
};

async function startMachine(t: TestContext, address: string, ...more: string[]): Promise<Machine> {
  const { grace, place } = makePlacedGrace(t);
  await grace.ok('start', `unix:${place}/first`, `tcp:${ownLoopback}:9`);
  const watching = grace.spawn('apply', address, '--watch', ...more);
  t.after(() => void watching.child.kill('SIGKILL'));
  const path = join(place, 'a');
  let told = 0;
  return {
    grace,
    path,
    watching,
    said: (text) =>
      until(
        () => `it says ${text}: ${JSON.stringify(watching.outcome())}`,
        () => watching.outcome().stdout.includes(text) || watching.outcome().stderr.includes(text),
      ),
    async told(what) {
      let text = '';
      await until(
        () => `${what} is told: ${text}`,
        () => what.test((text = watching.outcome().stderr.slice(told))),
      );
      told = watching.outcome().stderr.length;
    },
    async who() {
      const client = await openClient(t, { path });
      const name = await client.line();
      await client.end();
      return name;
    },
    source: async () => (await grace.status()).sources?.[0],
  };
}

type Report = { host: string; hash: string | null; generation: number; revision: number; problem?: string };

async function reports(etcd: Etcd): Promise<Report[]> {
  return (await etcd.below(`${key}/reports/`)).map((line) => JSON.parse(line));
}

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex');

test(
  'one key switches three machines within a second, no request fails, and the reports say so',
  options,
  async (t) => {
    const { etcd, blue, green } = await startAll(t);
    const machines = await Promise.all(
      [1, 2, 3].map(() => startMachine(t, `etcd://${etcd.address}${key}`, '--report')),
    );
    for (const { said } of machines) await said('Applied 2 changes\n');
    await until(
      'all have reported',
      async () => (await reports(etcd)).filter(({ hash }) => hash !== null).length === 3,
    );
    assert.deepEqual(new Set((await reports(etcd)).map(({ hash }) => hash)), new Set([hashOf(ruleTo(blue.endpoint))]));

    let [isOver, requests] = [false, 0];
    let switched = new Set<Machine>();
    let awaited = 'green';
    const failures: unknown[] = [];
    const load = machines.flatMap((machine) =>
      [1, 2, 3, 4].map(async () => {
        while (!isOver) {
          try {
            const client = await openClient(t, { path: machine.path });
            const name = await client.line();
            assert.equal(await client.echo('hello'), 'hello');
            await client.end();
            requests++;
            if (name === awaited) switched.add(machine);
          } catch (error) {
            failures.push(error);
          }
        }
      }),
    );
    await until('there is some load', () => requests > 200);
    // Where much else runs beside it the first may be late.
    const lateMs: number[] = [];
    for (const backend of [green, blue, green, blue, green]) {
      awaited = backend === green ? 'green' : 'blue';
      switched = new Set();
      await etcd.put(key, ruleTo(backend.endpoint));
      const startMs = performance.now();
      await until('all have switched', () => switched.size === 3);
      lateMs.push(Math.round(performance.now() - startMs));
      if (backend === green && lateMs.at(-1)! < 1000) break;
    }
    const more = requests + 200;
    await until('it goes on', () => requests > more);
    isOver = true;
    await Promise.all(load);
    t.diagnostic(
      `three machines had switched ${lateMs.join(', ')} ms after the key was set; ${requests} requests, ${failures.length} failed`,
    );
    assert.deepEqual(failures, []);
    assert.ok(Math.min(...lateMs) < 1000, `${lateMs.join()} ms`);

    const isGreen = async () =>
      (await reports(etcd)).filter(({ hash }) => hash === hashOf(ruleTo(green.endpoint))).length;
    await until('all have reported that', async () => (await isGreen()) === 3);
    const [{ grace }] = machines as [Machine];
    await grace.ok('restart');
    await until('the next generation has reported', async () =>
      (await reports(etcd)).some(({ generation, hash }) => generation === 2 && hash === hashOf(ruleTo(green.endpoint))),
    );
    assert.equal(await isGreen(), 3);
    assert.equal((await reports(etcd))[0]!.host, hostname());
    await grace.ok('switch', 'web', blue.endpoint);
    const isReported = (isSo: (report: Report) => boolean) => async () => (await reports(etcd)).some(isSo);
    await until(
      'a rule that was changed by hand is reported',
      isReported(({ problem, hash }) => hash === null && problem === 'the daemon has other rules'),
    );
    await grace.ok('stop');
    await until(
      'that no daemon runs is reported',
      isReported(({ problem, hash }) => hash === null && problem?.startsWith('no daemon runs') === true),
    );
    await grace.ok('start', `unix:${grace.dir}-other`, blue.endpoint);
    await until('the next daemon gets the rules, and has reported', async () => (await isGreen()) === 3);
  },
);

test(
  'while etcd is down or stands still the rules stay, stale since when is said, and then it is caught up',
  options,
  async (t) => {
    const { etcd, green } = await startAll(t);
    const before = Date.now();
    const { grace, said, who, source, watching } = await startMachine(t, `etcd://${etcd.address}${key}`);
    await said('Applied 2 changes\n');
    await until('status knows', async () => (await source()) !== undefined);
    assert.equal((await source())?.staleSince, undefined);
    assert.match(await grace.ok('metrics'), /^grace_rules_stale_seconds\{source="etcd:\S+"\} 0$/m);
    for (const [how, stop, go] of [
      ['it stands still', async () => etcd.signal('SIGSTOP'), async () => etcd.signal('SIGCONT')],
      ['it is killed', () => etcd.kill(), () => etcd.start()],
    ] as const) {
      await stop();
      await until(`stale: ${how}`, async () => (await source())?.staleSince !== undefined);
      const since = (await source())!.staleSince!;
      assert.ok(Date.parse(since) >= before && Date.parse(since) <= Date.now(), since);
      const text = await grace.ok('status');
      assert.match(text, new RegExp(`^rules from +etcd://\\S+, stale since ${since}$`, 'm'));
      assert.match(text, /^problem +the rules are stale since .*, and stay as they are: .*etcd at /m);
      const metrics = await grace.ok('metrics');
      const value = (name: string) => Number(new RegExp(`^${name}\\{source="\\S+"\\} (.*)$`, 'm').exec(metrics)?.[1]);
      assert.equal(value('grace_rules_stale_since_timestamp_seconds'), Date.parse(since) / 1000);
      assert.ok(value('grace_rules_stale_seconds') > 0);
      assert.match(grace.log(), /serving all the same .*the rules are stale since/);
      assert.equal(await who(), 'blue');
      await grace.ok('restart');
      await until('its successor knows since when', async () => (await source())?.staleSince === since);
      await go();
      await until(
        'in step again',
        async () => (await source())?.staleSince === undefined && (await source()) !== undefined,
      );
      assert.equal(await who(), 'blue');
    }
    assert.equal(watching.outcome().stderr.match(/is followed again/g)?.length, 2);
    // What has changed meanwhile.
    etcd.signal('SIGSTOP');
    etcd.signal('SIGCONT');
    await etcd.put(key, ruleTo(green.endpoint));
    await until('caught up', async () => (await who()) === 'green');
  },
);

test('a change made while etcd was away, and compacted, is caught up with', options, async (t) => {
  const { etcd, blue, green } = await startAll(t);
  const { said, who, watching, source } = await startMachine(t, `etcd://${ownLoopback}:1,${etcd.address}${key}`);
  await said('Applied 2 changes\n');
  watching.child.kill('SIGSTOP');
  await etcd.kill();
  await etcd.start();
  await etcd.put(key, ruleTo('tcp:127.0.0.1:1'));
  await etcd.put(key, ruleTo(green.endpoint));
  const { revision } = JSON.parse(etcd.ctl('get', key, '-w', 'json')).header;
  etcd.ctl('compact', String(revision));
  watching.child.kill('SIGCONT');
  await until('caught up', async () => (await who()) === 'green');
  await etcd.put(key, ruleTo(blue.endpoint));
  await until('and watched', async () => (await who()) === 'blue');
  assert.equal((await source())?.staleSince, undefined);
});

test('destinations come and go with their leases, the oldest is used, and the last one stays', options, async (t) => {
  const { etcd, blue, green } = await startAll(t, () => "rules:\n  - {name: web, src: 'unix:${PLACE}/a'}\n");
  const register = (name: string, value: string | Buffer, lease?: string) =>
    etcd.put(`${key}/destinations/web/${name}`, value, lease);
  const { grace, said, who, source, watching } = await startMachine(t, `etcd://${etcd.address}${key}`);
  await said('note: no destination is registered below /grace/rules/destinations/web/, and web has no dst: it is not');
  await until('status tells', async () => (await source())?.problem?.includes('it is not started') === true);
  await register('z-first', blue.endpoint);
  await said(`start unix:`);
  assert.equal(await who(), 'blue');
  await until('it is over', async () => (await source())?.problem === undefined);
  await etcd.put(`${key}/destinations/wbe/z`, green.endpoint);
  await etcd.put(`${key}/destinations/host7`, green.endpoint);
  const aside = `note: ${key}/destinations/wbe/z is passed over: no rule has the name "wbe"\n`;
  await said(aside);
  await said(
    `note: ${key}/destinations/host7 is passed over: a destination is ${key}/destinations/NAME/…, and no rule has the name "host7"\n`,
  );
  assert.equal((await source())?.problem, undefined);
  await register('a-second', green.endpoint, etcd.lease(300));
  await register('b-nonsense', 'nonsense');
  await register('c-bytes', Buffer.from([0xff, 0xfe]));
  await until('what is no destination is passed over', async () => {
    const problem = (await source())?.problem ?? '';
    return /b-nonsense is passed over: .*c-bytes is passed over: .* is not UTF-8/.test(problem);
  });
  assert.equal(await who(), 'blue');
  etcd.ctl('del', `${key}/destinations/web/z-first`);
  await until('the next one', async () => (await who()) === 'green');
  // A machine that dies: nobody keeps its lease any more.
  const lease = etcd.lease(2);
  await register('d-dies', blue.endpoint, lease);
  await etcd.remove(`${key}/destinations/web/a-second`);
  await until('that of the lease', async () => {
    await etcd.keep(lease);
    return (await who()) === 'blue';
  });
  await until('its lease has ended, and the last stays', async () =>
    /no destination is registered .*: it stays with tcp:/.test((await source())?.problem ?? ''),
  );
  assert.equal(await who(), 'blue');
  assert.match(grace.log(), /the rules are not all that etcd:\S+ says: .*no destination is registered/);
  assert.equal(watching.outcome().stderr.split(aside).length, 2, 'it is told once');
  await etcd.put(key, ruleTo(green.endpoint));
  await until('the own dst of the rule', async () => (await who()) === 'green');
});

test('a value that is wrong changes nothing, and a destination may accept later', options, async (t) => {
  const etcd = await startEtcd(t);
  const blue = await startBackend(t, 'blue');
  const { grace, said, told, who, source } = await startMachine(t, `etcd://${etcd.address}${key}`);
  await said(`grace: there is no key ${key} in etcd\nhint: put one: etcdctl put ${key} < rules.yaml\n`);
  assert.equal((await grace.ls()).length, 1);
  await etcd.put(key.slice(1), ruleTo(blue.endpoint)); // as those write it who do not begin keys with a slash
  await until('the key without a slash', async () => (await who().catch(() => '')) === 'blue');
  for (const [value, problem] of [
    ['rules: [', /grace: grace\/rules:1:9: /],
    ['', /grace: grace\/rules:1:1: the file has no rules/],
    [ruleTo('nonsense'), /grace: grace\/rules:2:\d+: cannot read endpoint "nonsense"/],
    [Buffer.from([0xff, 0x00]), /grace: the value of grace\/rules is not UTF-8$/m],
    [Buffer.alloc(1_200_000, '#'), /grace: the value of grace\/rules has 1200000 bytes, more than 1048576$/m],
    ["rules:\n  - {src: 'unix:/a'}\n", /grace: grace\/rules:2:5: rules.0 has neither dst nor name/],
  ] as const) {
    await etcd.put(key.slice(1), value);
    await told(problem);
    assert.equal(await who(), 'blue');
  }
  assert.match(await grace.ok('metrics'), /^grace_problems [1-9]/m);
  const late = `${grace.dir}-late`;
  await etcd.put(key.slice(1), ruleTo(`unix:${late}`));
  await told(/ENOENT/);
  await until('status tells', async () => (await source())?.problem?.includes('ENOENT') === true);
  assert.equal(await who(), 'blue');
  await startBackend(t, 'late', { path: late });
  await until('it is tried again', async () => (await who()) === 'late');
  etcd.ctl('del', key.slice(1));
  await until(
    'a key that has gone is told',
    async () => (await source())?.problem?.startsWith('there is no key') === true,
  );
  assert.equal(await who(), 'late');
});

test('a destination that does not answer holds up no other rule, and not what comes after it', options, async (t) => {
  const rules = (web: string, other: string) => `${ruleTo(web)}  - {src: 'unix:\${PLACE}/other', dst: '${other}'}\n`;
  const { etcd, blue, green } = await startAll(t, (dst) => rules(dst, dst));
  const { said, who, path } = await startMachine(t, `etcd://${etcd.address}${key}`);
  await said('Applied 3 changes\n');
  await etcd.put(key, rules(green.endpoint, `tcp:${ownLoopback}:1:retry=60`));
  await until('the other one', async () => (await who()) === 'green');
  await etcd.put(key, rules(blue.endpoint, green.endpoint));
  await until('what comes after', async () => (await who()) === 'blue');
  await until('both', async () => {
    const client = await openClient(t, { path: path.replace(/a$/, 'other') });
    return (await client.line()) === 'green';
  });
});

test('TLS with client certificates, verified; without them it says what is wrong', options, async (t) => {
  const pem = makePemFiles();
  t.after(pem.remove);
  const name = `subjectAltName=IP:${ownLoopback}`;
  makeCertificate(pem.dir, {
    name: 'etcd',
    subject: 'etcd',
    extensions: ['basicConstraints=critical,CA:FALSE', name],
    issuer: 'root',
  });
  makeCertificate(pem.dir, {
    name: 'stranger',
    subject: 'stranger',
    extensions: ['basicConstraints=critical,CA:FALSE', name],
  });
  const [cert, keyFile] = [join(pem.dir, 'etcd.crt'), join(pem.dir, 'etcd.key')];
  const etcd = await startEtcd(t, { cacert: pem.root, cert, key: keyFile });
  const blue = await startBackend(t, 'blue');
  etcd.ctl('put', key, ruleTo(blue.endpoint));
  const base = `etcds://${etcd.address}${key}`;
  const { grace, said, who } = await startMachine(
    t,
    `${base}?cacert=${pem.root}&cert=${cert}&key=${keyFile}`,
    '--report',
  );
  await said('Applied 2 changes\n');
  assert.equal(await who(), 'blue');
  await until('it reports', () => etcd.ctl('get', '--prefix', `${key}/reports/`).includes('"hash":"'));
  const [stranger, strangersKey] = [join(pem.dir, 'stranger.crt'), join(pem.dir, 'stranger.key')];
  for (const [address, stderr] of [
    [base, /^grace: cannot reach etcd at \S+: .*\nhint: the authority that signed its certificate: \?cacert=FILE\n$/],
    [`${base}?cacert=${pem.root}`, /^grace: cannot reach etcd at .*\nhint: it may want a client certificate/],
    [
      `${base}?cacert=${pem.root}&cert=${stranger}&key=${strangersKey}`,
      /^grace: cannot reach etcd at .*\nhint: it may want a client certificate/,
    ],
    [`etcd://${etcd.address}${key}`, /^grace: .*\nhint: it may want TLS: etcds:\/\/\n$/],
    [`${base}?cacert=${pem.missing}`, /^grace: cannot read cacert \S+: no such file or directory \(ENOENT\)\n$/],
    [`${base}?cacert=${pem.junk}`, /^grace: .*\n/],
  ] as const) {
    const outcome = await grace.run('apply', address);
    assert.notEqual(outcome.code, 0);
    assert.match(outcome.stderr, stderr, address);
    assert.ok(outcome.stderr.split('\n').length <= 3, outcome.stderr);
  }
});

test('an etcd that wants users gets one, and refuses others', options, async (t) => {
  const { etcd, blue } = await startAll(t);
  for (const words of [
    ['user', 'add', 'root:secret'],
    ['user', 'grant-role', 'root', 'root'],
    ['role', 'add', 'reader'],
    ['role', 'grant-permission', 'reader', 'read', '--prefix', key],
    ['user', 'add', 'grace:word'],
    ['user', 'grant-role', 'grace', 'reader'],
    ['auth', 'enable'],
  ])
    try {
      etcd.ctl(...words);
    } catch (error) {
      if (!/Role.*root|already/.test(String(error))) throw error;
    }
  const { grace } = makePlacedGrace(t, { WORD: 'word', BAD: 'bad' });
  await grace.ok('start', `unix:${grace.dir}-first`, blue.endpoint);
  const base = `etcd://${etcd.address}${key}`;
  const run = (query: string, ...more: string[]) => grace.run('apply', base + query, ...more);
  assert.match((await run('')).stderr, /^grace: etcd at \S+ refuses: .*\nhint: it wants a user: /);
  assert.match(
    (await run('?user=grace&password=env:BAD')).stderr,
    /^grace: etcd at \S+ refuses: .*authentication failed/,
  );
  assert.match(
    (await run('?user=grace&password=env:NONE')).stderr,
    /^grace: password env:NONE: the environment has no/,
  );
  assert.match((await run('?user=grace&password=env:WORD')).stdout, /Applied 2 changes\n$/);
  assert.match(
    (await run('?user=grace&password=env:WORD', '--report')).stderr,
    /permission denied\nhint: the user needs/,
  );
});

test('what is no etcd, or not there, is said in a line', options, async (t) => {
  const grace = makeGrace(t);
  await grace.ok('start', `unix:${grace.dir}-first`, 'tcp:127.0.0.1:9');
  const server = createServer((_, response) => response.end('<html>hello</html>')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  // As etcd does with TLS where it speaks none, and the reverse.
  const resets = createTcpServer(
    (socket) => void socket.on('error', () => {}).once('data', () => socket.resetAndDestroy()),
  );
  resets.listen(0, '127.0.0.1');
  await once(resets, 'listening');
  t.after(() => void resets.close());
  const { port: resetting } = resets.address() as AddressInfo;
  for (const [address, code, stderr] of [
    [
      `etcd://127.0.0.1:${port}/a`,
      1,
      /^grace: what answers at \S+ is not etcd 3.4 or later: HTTP 200, "<html>hello<\/html>"\nhint: /,
    ],
    [
      `etcds://127.0.0.1:${port}/a`,
      1,
      /^grace: cannot reach etcd at .*\nhint: it does not seem to speak TLS: etcd:\/\/\n$/,
    ],
    [
      `etcd://${ownLoopback}:1,${ownLoopback}:3/a`,
      1,
      /^grace: cannot reach etcd at \S+:1: connection refused \(ECONNREFUSED\); cannot reach etcd at \S+:3: /,
    ],
    ['etcd://127.0.0.1', 2, /^grace: cannot read "etcd:\/\/127.0.0.1": KEY is missing\nhint: its form: /],
    [
      `etcds://127.0.0.1:${resetting}/a`,
      1,
      /^grace: .*ECONNRESET.*\nhint: it may not speak TLS: etcd:\/\/, without cacert/,
    ],
    [`etcd://127.0.0.1:${resetting}/a`, 1, /^grace: .*ECONNRESET.*\nhint: it may want TLS: etcds:\/\/\n$/],
    [
      'etcd://nowhere.invalid/a',
      1,
      /^grace: cannot reach etcd at nowhere\.invalid:2379: (the name cannot be resolved|.*) \([A-Z_]+\)\n$/,
    ],
  ] as const) {
    const outcome = await grace.run('apply', address);
    assert.match(outcome.stderr, stderr);
    assert.doesNotMatch(outcome.stderr, /getaddrinfo/);
    assert.equal(outcome.code, code);
    assert.ok(outcome.stderr.split('\n').length <= 3, outcome.stderr);
  }
});
