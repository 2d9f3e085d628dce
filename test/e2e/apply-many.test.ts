import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { seededRandom } from '../random.ts';
import { startBackend, openClient } from './backend.ts';
import type { Backend, Client } from './backend.ts';
import { makeGrace } from './grace.ts';

/** With GRACE_TEST_APPLIES=1000 it takes some minutes. */
const applies = Number(process.env['GRACE_TEST_APPLIES'] ?? 12);
const rules = 40;
const clientsPerRule = 5 * Math.ceil(applies / 100);

test(
  'a changed rule costs the connections of no other, and no other listener is made anew',
  { timeout: applies * 3000 + 120_000 },
  async (t) => {
    const grace = makeGrace(t);
    const random = seededRandom(20_261_126);
    const backends = await Promise.all(['red', 'green', 'blue'].map((name) => startBackend(t, name)));
    const path = (rule: number) => `${grace.dir}-${rule}`;
    const file = `${grace.dir}.yaml`;
    /** What the file says. */
    const wanted = new Map<number, Backend>();
    const clients = new Map<number, Client[]>();
    const apply = async () => {
      const lines = Array.from(
        wanted,
        ([rule, { endpoint }]) => `  - {src: 'unix:${path(rule)}', dst: '${endpoint}'}\n`,
      );
      writeFileSync(file, `rules:${lines.length === 0 ? ' []' : ''}\n${lines.join('')}`);
      return await grace.ok('apply', file, '--timeout', '0');
    };
    const connect = async (rule: number) => {
      const opened = await Promise.all(
        Array.from({ length: clientsPerRule }, () => openClient(t, { path: path(rule) })),
      );
      await Promise.all(opened.map((client) => client.line()));
      clients.set(rule, [...(clients.get(rule) ?? []), ...opened]);
    };
    const inodes = () => new Map(Array.from(wanted.keys(), (rule) => [rule, statSync(path(rule)).ino]));

    for (let rule = 0; rule < rules; rule++) wanted.set(rule, random.pick(backends));
    await grace.ok('start', `unix:${path(0)}`, wanted.get(0)!.endpoint);
    await apply();
    for (const rule of wanted.keys()) await connect(rule);

    for (let round = 0; round < applies; round++) {
      const before = inodes();
      const rule = random.below(rules);
      const current = wanted.get(rule);
      if (!current) wanted.set(rule, random.pick(backends));
      else if (random.chance(0.3)) wanted.delete(rule);
      else wanted.set(rule, random.pick(backends.filter((each) => each !== current)));
      const said = await apply();
      const verb = !current ? 'start' : wanted.has(rule) ? 'switch' : 'stop';
      assert.match(said, new RegExp(`^${verb} unix:${path(rule)}( |\n)[^\n]*\n?Applied 1 changes\n$`));
      if (verb === 'stop') {
        for (const { socket } of clients.get(rule) ?? []) socket.destroy();
        clients.delete(rule);
      } else if (verb === 'start') await connect(rule);
      const after = inodes();
      for (const [each, inode] of before) if (each !== rule) assert.equal(after.get(each), inode, `listener ${each}`);
      if (verb === 'switch') assert.equal(after.get(rule), before.get(rule));
      // Those of the rule that was switched are among them: they drain.
      const open = [...clients.values()].flat();
      await Promise.all(open.map((client, index) => client.echo(`${round} ${index}`)));
    }
    assert.equal(await apply(), 'No changes\n');
    t.diagnostic(`${applies} applies, ${[...clients.values()].flat().length} connections`);
  },
);
