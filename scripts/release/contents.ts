/**
 * What an executable is made of beside grace's own code: the npm packages of which something is in the bundle, and
 * Node. As a bill of materials (CycloneDX 1.5), and as the texts of their licences, which ask to go along.
 *
 * `npm sbom` lists what is installed, which is mostly tools; what esbuild has put into the bundle is what is shipped.
 * There is neither a time nor a place of download in it: the same commit gives the same bytes.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import manifest from '../../package.json' with { type: 'json' };
import lock from '../../package-lock.json' with { type: 'json' };

/** File names beside the executables. */
export const billName = 'grace.cdx.json';
export const noticesName = 'THIRD-PARTY.txt';

/** A package of which something is in the bundle. */
export type BundledPackage = { name: string; version: string; license: string; text: string; sha512: string | null };

/** The packages that files of a bundle come from; paths are those of esbuild's metafile. */
export async function packagesOf(root: string, inputs: readonly string[]): Promise<BundledPackage[]> {
  const places = new Set(inputs.flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
  const packages = await Promise.all([...places].map((place) => readPackage(root, place)));
  const byKey = new Map(packages.map((each) => [`${each.name}@${each.version}`, each]));
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
}

async function readPackage(root: string, place: string): Promise<BundledPackage> {
  const directory = join(root, place);
  const { name, version, license } = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as {
    name: string;
    version: string;
    license?: string;
  };
  const file = (await readdir(directory)).find((each) => /^(licen[cs]e|copying)/i.test(each));
  const { integrity } = (lock.packages as Record<string, { integrity?: string }>)[place] ?? {};
  const [, hash] = /^sha512-(\S+)$/.exec(integrity ?? '') ?? [];
  return {
    name,
    version,
    license: license ?? 'not said',
    text: file === undefined ? '' : (await readFile(join(directory, file), 'utf8')).trim(),
    sha512: hash === undefined ? null : Buffer.from(hash, 'base64').toString('hex'),
  };
}

/** The bill of materials, as JSON. `node` is the version of Node in the executables. */
export function billOfMaterials(packages: readonly BundledPackage[], node: string): string {
  const components = packages.map(({ name, version, license, sha512 }) => {
    const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
    return {
      type: 'library',
      'bom-ref': purl,
      name,
      version,
      purl,
      licenses: [{ license: { id: license } }],
      ...(sha512 === null ? {} : { hashes: [{ alg: 'SHA-512', content: sha512 }] }),
    };
  });
  const runtime = {
    type: 'platform',
    'bom-ref': `pkg:generic/node@${node}`,
    name: 'node',
    version: node,
    purl: `pkg:generic/node@${node}`,
    cpe: `cpe:2.3:a:nodejs:node.js:${node}:*:*:*:*:*:*:*`,
    licenses: [{ license: { id: 'MIT' } }],
  };
  const own = `pkg:generic/${manifest.name}@${manifest.version}`;
  const all = [runtime, ...components];
  return `${JSON.stringify(
    {
      bomFormat: 'CycloneDX',
      specVersion: '1.5',
      version: 1,
      metadata: {
        component: {
          type: 'application',
          'bom-ref': own,
          name: manifest.name,
          version: manifest.version,
          purl: own,
          licenses: [{ license: { id: manifest.license } }],
        },
      },
      components: all,
      dependencies: [{ ref: own, dependsOn: all.map((each) => each['bom-ref']) }],
    },
    null,
    2,
  )}\n`;
}

/** The texts of the licences, one after the other; Node's own first, which names those of its parts. */
export function notices(packages: readonly BundledPackage[], nodeLicense: string): string {
  const head = `grace is made with the following software.\n`;
  const parts = packages.map(({ name, version, license, text }) => part(`${name} ${version} (${license})`, text));
  return [head, part('Node.js', nodeLicense.trim()), ...parts].join('\n');
}

function part(title: string, text: string): string {
  return `${'='.repeat(80)}\n${title}\n${'='.repeat(80)}\n\n${text}\n`;
}
