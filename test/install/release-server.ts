/** A release of a program that only says what it is, signed, and an HTTP server that serves it well or badly. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { packRelease } from '../../scripts/release/pack.ts';
import { readSigningKey } from '../../scripts/release/sign.ts';
import type { SigningKey } from '../../scripts/release/sign.ts';
import { machineName } from '../../src/upgrade/artifacts.ts';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const machine = machineName(process.platform, process.arch);

export function makeKey(): SigningKey {
  return readSigningKey(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
}

export function makeTempDir(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'grace-install-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A script in the place of the executable: it has a version, prints its words, and says that a daemon runs when GRACE_FAKE_RUNNING is set. */
export function fakeGrace(version: string, padding = ''): string {
  return `#!/bin/sh
case $1 in
  --version) echo 'grace ${version}'; echo 'commit fake' ;;
  status) [ -n "$GRACE_FAKE_RUNNING" ] || exit 3; printf 'status       running\\nversion      %s\\n' "$GRACE_FAKE_RUNNING" ;;
  restart) echo "Restarted by $0" ;;
  *) echo "${version}: $*" ;;
esac
exit 0
${padding}`;
}

export type ReleaseServer = {
  url: string;
  /** What is served, to be changed. */
  directory: string;
  key: SigningKey;
  publish(version: string, program?: string, signingKey?: SigningKey | null): Promise<void>;
  /** With a program from a file, not signed. */
  publishFile(version: string, file: string): Promise<void>;
  /** Hears the path of each request before it is answered. */
  onRequest: (path: string) => void;
  /** Answer requests for paths that match in another way, from now on. */
  spoil(pattern: RegExp, answer: 'truncated' | 'silent' | 'missing' | { redirect: string }): void;
};

export async function openReleaseServer(t: TestContext): Promise<ReleaseServer> {
  const directory = makeTempDir(t);
  const key = makeKey();
  const spoiled: { pattern: RegExp; answer: Parameters<ReleaseServer['spoil']>[1] }[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '');
    release.onRequest(path);
    const answer = spoiled.find(({ pattern }) => pattern.test(path))?.answer;
    let content: Buffer;
    try {
      content = readFileSync(join(directory, path));
    } catch {
      response.writeHead(404).end('not here');
      return;
    }
    if (answer === 'missing') response.writeHead(404).end();
    else if (typeof answer === 'object') response.writeHead(302, { location: answer.redirect }).end();
    else if (answer === 'silent') response.writeHead(200, { 'content-length': content.length }).flushHeaders();
    else if (answer === 'truncated') {
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, content.length >> 1), () => response.destroy());
    } else response.writeHead(200, { 'content-length': content.length }).end(content);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const release: ReleaseServer = {
    url,
    directory,
    key,
    onRequest: () => {},
    async publish(version, program = fakeGrace(version), signingKey = key) {
      const file = join(directory, 'program');
      mkdirSync(directory, { recursive: true });
      writeFileSync(file, program);
      chmodSync(file, 0o755);
      await packRelease({
        root,
        version,
        executables: new Map([[machine, file]]),
        outdir: directory,
        key: signingKey,
        releaseUrl: url,
        level: 1,
      });
    },
    publishFile: async (version, file) =>
      void (await packRelease({
        root,
        version,
        executables: new Map([[machine, file]]),
        outdir: directory,
        key: null,
        releaseUrl: url,
        level: 1,
      })),
    spoil: (pattern, answer) => void spoiled.push({ pattern, answer }),
  };
  return release;
}
