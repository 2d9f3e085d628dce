/** One idea, one word: what the glossary has another word for does not come back. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root, sectionOf, readPage } from './page.ts';

/** Names that were, and the glossary's word for each. */
const replaced: Readonly<Record<string, string>> = {
  heir: 'successor',
  vigil: 'peer monitor',
  brake: 'accept back-off',
  entrance: 'frontend',
  pulse: 'heartbeat',
  picture: 'snapshot',
  voice: 'console',
  twin: 'upstream',
  standIn: 'hand-over',
  goesOn: 'connection',
  meetParent: 'predecessor',
  meetSupervisor: 'supervisor',
  letGo: 'release',
  slim: 'trim memory',
  GivenSocket: 'inherited sockets',
};

test('the words of the glossary are those of the source', () => {
  const glossary = sectionOf(readPage('src/README.md'), 'Words');
  for (const word of new Set(Object.values(replaced)))
    assert.match(glossary, new RegExp(`^\\| [^|]*\\b${word}\\b`, 'm'), word);
  const found = globSync('src/**/*.ts', { cwd: root }).flatMap((file) => {
    const words = readFileSync(join(root, file), 'utf8').match(/[A-Za-z]+/g) ?? [];
    return words
      .filter((word) => Object.hasOwn(replaced, word))
      .map((word) => `${file}: ${word}, for ${replaced[word]}`);
  });
  assert.deepEqual(found, []);
});
