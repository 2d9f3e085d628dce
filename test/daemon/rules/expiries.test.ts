/** Until when the certificates are valid that a rule presents. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { serverExpiries } from '../../../src/daemon/rules/expiries.ts';
import { parseServer } from '../../../src/endpoint/server.ts';
import { issuer } from '../../e2e/issued-pairs.ts';
import { makePemFiles } from '../../endpoint/pem.ts';

test('of a directory each name is told once, with what clients see of it first to end', { timeout: 60_000 }, (t) => {
  const pem = makePemFiles();
  t.after(() => pem.remove());
  const dir = join(pem.dir, 'named');
  mkdirSync(dir);
  const issue = issuer(pem.dir, pem.intermediate);
  const days = () =>
    [`tls:${dir}:0`, `ssl:0:privateKey=${pem.otherKey}:certKey=${pem.otherCert}:sni=${dir}`].map((typed) =>
      serverExpiries(parseServer(typed)).map(({ name, untilSeconds }) => [
        name,
        Math.round((untilSeconds * 1000 - Date.now()) / 86_400_000),
      ]),
    );
  const put = (file: string, options: Parameters<typeof issue>[0]) => {
    const { key, cert } = issue(options);
    copyFileSync(key, join(dir, `${file}.key.pem`));
    copyFileSync(cert, join(dir, `${file}.pem`));
  };
  // The first lies there still, and nobody sees it.
  put('old', { name: 'a.example', days: 20 });
  put('new', { name: 'a.example', days: 40 });
  const [own] = serverExpiries(parseServer(`ssl:0:privateKey=${pem.otherKey}:certKey=${pem.otherCert}`));
  assert.ok(own);
  const [[ofDirectory], [first, second]] = days() as [[unknown], [unknown[], unknown]];
  assert.deepEqual([ofDirectory, first[0], second], [['a.example', 40], own.name, ['a.example', 40]]);
  put('b', { name: 'b.example', days: 10 });
  assert.deepEqual(days()[0], [
    ['b.example', 10],
    ['a.example', 40],
  ]);
});
