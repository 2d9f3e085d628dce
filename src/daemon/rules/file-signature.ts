/** Whether files have changed, without reading them. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { listDirectory } from '../../endpoint/named-file.ts';
import { errorCode } from '../../error.ts';
import { fsPath } from '../../sys/file-name.ts';

/** One look at files, at each once, however many endpoints name it. */
export class FileSignatures {
  readonly #known = new Map<string, string>();

  /**
   * A text that is another one when one of these files, or a `.pem` file in one of these directories, has other contents: by
   * inode, size and times, behind links, so that one which leads elsewhere (certbot's `live`, Kubernetes' `..data`) counts as a change.
   */
  of(paths: readonly string[]): string {
    return paths.map((path) => this.#ofPath(path)).join('\n');
  }

  /** Whether one of them has changed at or after a moment, in milliseconds since 1970. */
  haveChangedSince(paths: readonly string[], sinceMs: number): boolean {
    const changes = this.of(paths).matchAll(/:(\d+)$/gm);
    return changes.some(([, ctimeNs = '']) => Number(ctimeNs) / 1e6 >= sinceMs);
  }

  #ofPath(path: string): string {
    const signature = this.#known.get(path) ?? signatureOf(path);
    this.#known.set(path, signature);
    return signature;
  }
}

function signatureOf(path: string): string {
  try {
    const stats = statSync(fsPath(path), { bigint: true });
    if (!stats.isDirectory()) return [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(':');
    const names = listDirectory({ parameter: '', path, text: '' }, { recursive: true });
    const files = names.filter((name) => /\.pem$/i.test(name));
    return files.map((name) => `${name} ${signatureOf(join(path, name))}`).join('\n');
  } catch (error) {
    return errorCode(error) ?? 'unreadable';
  }
}
