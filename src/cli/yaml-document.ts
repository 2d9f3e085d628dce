/**
 * YAML from strangers: read with the places of what is in it, and without what makes reading it take for ever. The
 * library looks for each alias through all of the document, compares each key of a map with each other one, and goes
 * as deep as a text is nested.
 */
import { isAlias, isCollection, isNode, isPair, isScalar, LineCounter, parseDocument } from 'yaml';
import type { Document, Node, YAMLError, YAMLMap, YAMLSeq } from 'yaml';
import { quoted } from '../endpoint/error.ts';

/** What becomes of its texts, and of what is wrong. */
export type YamlOptions = {
  /** What a text stands for that is no key. `refuse` throws. */
  expand: (text: string, refuse: (problem: string) => never) => string;
  /** Throws what is wrong at a place, `LINE:COLUMN`. */
  refuse: (place: string, problem: string) => never;
};

/** A document in which no alias is left, and where its parts are: `LINE:COLUMN` of one, or of the next bigger one that is there. */
export type YamlDocument = { document: Document; placeAt: (path: readonly PropertyKey[]) => string };

/** Deepest nesting that is looked into. */
const maxDepth = 32;
/** Most nodes that aliases may stand for, all together: of some that name one another there are soon millions. */
const maxAliased = 100_000;

/** Read a document. Throws what `refuse` does. */
export function readYaml(text: string, { expand, refuse }: YamlOptions): YamlDocument {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'error',
    uniqueKeys: false,
  });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${line}:${col}`;
  };
  const [problem] = document.errors;
  if (problem) refuse(at(problem.pos[0]), sentenceOf(problem));
  const tree = new Tree((node, problem) => refuse(at(node.range?.[0] ?? 0), problem), expand);
  const contents: unknown = document.contents;
  if (isNode(contents)) document.contents = tree.take(contents, { depth: 0, isKey: false }) as typeof document.contents;
  return { document, placeAt: (path) => at(offsetOf(document, path)) };
}

/** What the library says, for a user who is not its programmer. */
function sentenceOf({ code, message }: YAMLError): string {
  if (/call stack/i.test(message)) return 'it is nested too deep';
  return code === 'MULTIPLE_DOCS' ? 'there is more than one document in it' : message;
}

/** One look at each node. */
class Tree {
  readonly #refuse: (node: Node, problem: string) => never;
  readonly #expand: YamlOptions['expand'];
  /** What each anchor that has been passed names, and how many nodes there are from it on. */
  readonly #anchors = new Map<string, { node: Node; size: number }>();
  #size = 0;
  #aliased = 0;

  constructor(refuse: (node: Node, problem: string) => never, expand: YamlOptions['expand']) {
    this.#refuse = refuse;
    this.#expand = expand;
  }

  /** The node, or what it is an alias of, with everything that is in it taken likewise. */
  take(node: Node, { depth, isKey }: { depth: number; isKey: boolean }): Node {
    if (depth > maxDepth) this.#refuse(node, 'it is nested too deep');
    if (isAlias(node)) return this.#named(node, node.source);
    const before = this.#size++;
    if (isScalar(node) && typeof node.value === 'string' && !isKey)
      node.value = this.#expand(node.value, (problem) => this.#refuse(node, problem));
    if (isCollection(node)) this.#takeItems(node, depth + 1);
    if ((isScalar(node) || isCollection(node)) && node.anchor !== undefined) {
      this.#anchors.set(node.anchor, { node, size: this.#size - before });
      delete node.anchor;
    }
    return node;
  }

  #named(alias: Node, name: string): Node {
    const found = this.#anchors.get(name);
    if (found === undefined) return this.#refuse(alias, `there is no anchor ${quoted(name)} before this alias`);
    this.#size += found.size;
    this.#aliased += found.size;
    if (this.#aliased > maxAliased) this.#refuse(alias, 'its aliases stand for too much');
    return found.node;
  }

  #takeItems({ items }: YAMLMap | YAMLSeq, depth: number): void {
    const keys = new Set<unknown>();
    for (const [index, item] of items.entries()) {
      if (isNode(item)) items[index] = this.take(item, { depth, isKey: false });
      if (!isPair(item)) continue;
      const { key, value } = item;
      if (isNode(key)) item.key = this.take(key, { depth, isKey: true });
      if (isScalar(item.key)) {
        const { value: name } = item.key;
        if (keys.has(name)) this.#refuse(item.key, `the key ${quoted(String(name))} is given twice`);
        keys.add(name);
      }
      if (isNode(value)) item.value = this.take(value, { depth, isKey: false });
    }
  }
}

/** Where a part of the document begins, or the next bigger one that is there. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown = document.getIn(path.slice(0, length), true);
    const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : null;
    if (Array.isArray(range) && typeof range[0] === 'number') return range[0];
  }
  return 0;
}
