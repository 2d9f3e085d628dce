import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** A fresh directory, removed when disposed. */
export function makeTempDir(): { path: string; file(name: string): string } & Disposable {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'grace-net-'));
  return {
    path: directory,
    file: (name) => path.join(directory, name),
    [Symbol.dispose]: () => fs.rmSync(directory, { recursive: true }),
  };
}
