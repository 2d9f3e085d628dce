/** The pages of the documentation as their readers see them: links, headings, blocks of code. */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Every page, by its path below the root. */
export function pages(directory = root): string[] {
  const isElsewhere = (name: string) => /(^|\/)(node_modules|dist|\.git)$/.test(name);
  return [
    ...globSync('**/*.md', { cwd: directory, exclude: isElsewhere }),
    ...globSync('.github/*.md', { cwd: directory }),
  ].sort();
}

export function readPage(page: string, directory = root): string {
  return readFileSync(join(directory, page), 'utf8');
}

/** Targets of a page's links, as written. */
export function linksOf(text: string): string[] {
  const prose = text.replace(/^```.*?^```$/gms, '').replace(/`[^`\n]*`/g, 'code');
  return [...prose.matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = '']) => target);
}

/** What a link can name in a page, by the rules of GitHub. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, title = ''] of text.replace(/^```.*?^```$/gms, '').matchAll(/^#{1,6} (.*)$/gm)) {
    const plain = title.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = plain.replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '').replaceAll(' ', '-');
    let unique = anchor;
    for (let count = 1; anchors.has(unique); count++) unique = `${anchor}-${count}`;
    anchors.add(unique);
  }
  return anchors;
}

/** A section with those below it; its heading is of the second level. */
export function sectionOf(text: string, title: string): string {
  const section = text.split(/^## /m).find((each) => each.startsWith(`${title}\n`));
  if (section === undefined) throw new Error(`the page has no section ${title}`);
  return section;
}

export type Step = { command: string; output: string };

/** What a page shows: `$ command` with what follows up to the next one; a block without a `$` is commands alone. */
export function stepsOf(text: string): Step[] {
  const blocks = [...text.matchAll(/^```[a-z]*\n(.*?)^```$/gms)].map(([, block = '']) => block);
  return blocks.flatMap((block) => {
    if (!/^\$ /m.test(block)) return [{ command: block, output: '' }];
    return block
      .split(/^\$ /m)
      .slice(1)
      .map((step) => {
        const [command = '', ...output] = step.split('\n');
        return { command, output: output.join('\n') };
      });
  });
}
