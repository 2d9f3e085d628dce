/** What the page of endpoints shows can be written as it stands there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { readPage, sectionOf } from './page.ts';

/** The rows of a table below its head: the code in each cell. */
function tableOf(section: string): string[][][] {
  const rows = sectionOf(readPage('src/endpoint/README.md'), section).match(/^\|.*\|$/gm) ?? [];
  return rows.slice(2).map((row) =>
    row
      .slice(1, -1)
      .split(' | ')
      .map((cell) => Array.from(cell.matchAll(/`([^`]*)`/g), ([, code = '']) => code)),
  );
}

/** Parameters that are of no use without others, and those. */
const companions: readonly { of: RegExp; src?: string; dst?: string }[] = [
  { of: /^clientAuth=/, src: 'clientCA=FILE' },
  { of: /^proxyFrom=/, src: 'proxy=accept' },
  { of: /^proxyTlv=/, dst: 'proxy=v2' },
  { of: /^passphrase=/, dst: 'certKey=FILE:privateKey=FILE' },
];

test('the example of every type can be read', () => {
  const [servers, clients] = [tableOf('Where to listen (SRC)'), tableOf('Where to connect (DST)')];
  assert.ok(servers.length > 5 && clients.length > 5);
  for (const row of servers) parseServer(row.at(-1)![0]!);
  for (const row of clients) parseClient(row.at(-1)![0]!);
});

test('every parameter can be written as it is shown', () => {
  const page = sectionOf(readPage('src/endpoint/README.md'), "Parameters beyond Twisted's");
  const rows = tableOf("Parameters beyond Twisted's");
  const places = page.match(/^\|[^|]*\|/gm)!.slice(2);
  assert.ok(rows.length > 15);
  assert.equal(places.length, rows.length);
  for (const [index, [types = [], shown = []]] of rows.entries()) {
    const isTls = types.includes('ssl');
    for (const parameter of shown.filter((each) => !/…|LIST/.test(each))) {
      const other = companions.find(({ of }) => of.test(parameter));
      const write = (...parts: (string | undefined)[]) => parts.filter((each) => each !== undefined).join(':');
      if (places[index]!.includes('SRC')) parseServer(write(isTls ? 'ssl:8443' : 'tcp:8080', other?.src, parameter));
      if (places[index]!.includes('DST'))
        parseClient(write(isTls ? 'ssl:app:443' : 'tcp:app:9001', other?.dst, parameter));
    }
  }
});
