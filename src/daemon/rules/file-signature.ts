/** Whether files have changed, without reading them. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { listDirectory } from '../../endpoint/named-file.ts';
import { errorCode } from '../../error.ts';
import { fsPath } from '../../sys/file-name.ts';
import { versionOf } from '../../sys/file-version.ts';

/** What one look at a path has found. */
type Look = {
  /** Another text when there are other contents. */
  readonly signature: string;
  /** When there last was a change (ctime), in milliseconds since 1970; -Infinity where nothing can be looked at. */
  readonly changedAtMs: number;
};

/** One look at files, at each once, however many endpoints name it. */
export class FileSignatures {
  readonly #looks = new Map<string, Look>();

  /**
   * A text that is another one when one of these files, or a `.pem` file in one of these directories, has other contents: by
   * inode, size and times, behind links, so that one which leads elsewhere (certbot's `live`, Kubernetes' `..data`) counts as a change.
   */
  of(paths: readonly string[]): string {
    return paths.map((path) => this.#look(path).signature).join('\n');
  }

  /** Whether one of them has changed at or after a moment, in milliseconds since 1970. */
  haveChangedSince(paths: readonly string[], sinceMs: number): boolean {
    return paths.some((path) => this.#look(path).changedAtMs >= sinceMs);
  }

  #look(path: string): Look {
    const look = this.#looks.get(path) ?? lookAt(path);
    this.#looks.set(path, look);
    return look;
  }
}

function lookAt(path: string): Look {
  try {
    const stats = statSync(fsPath(path), { bigint: true });
    if (!stats.isDirectory()) return { signature: versionOf(stats), changedAtMs: Number(stats.ctimeNs) / 1e6 };
    const names = listDirectory({ parameter: '', path, text: '' }, { recursive: true });
    const looks = names.filter((name) => /\.pem$/i.test(name)).map((name) => ({ name, ...lookAt(join(path, name)) }));
    return {
      signature: looks.map(({ name, signature }) => `${name} ${signature}`).join('\n'),
      changedAtMs: looks.reduce((latest, { changedAtMs }) => Math.max(latest, changedAtMs), -Infinity),
    };
  } catch (error) {
    return { signature: errorCode(error) ?? 'unreadable', changedAtMs: -Infinity };
  }
}
