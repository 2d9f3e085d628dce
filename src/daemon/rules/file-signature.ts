/** Whether the files of an endpoint have changed, without reading them. */
import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { innerEndpoint } from '../../endpoint/inner.ts';
import type { ServerEndpoint } from '../../endpoint/model.ts';
import { listDirectory } from '../../endpoint/named-file.ts';
import { mapPaths } from '../../endpoint/paths.ts';
import { errorCode } from '../../error.ts';
import { fsPath } from '../../sys/file-name.ts';

/**
 * A text that is another one when a file that the endpoint names has other contents: by inode, size and times, behind
 * links, so that one which leads elsewhere (certbot's `live`, Kubernetes' `..data`) counts as a change.
 */
export function signatureOf(endpoint: ServerEndpoint): string {
  const inner = innerEndpoint(endpoint);
  if (inner.type !== 'ssl' && inner.type !== 'tls') return '';
  const paths = new Set<string>();
  // Lists of networks are followed by themselves.
  const { allow: _allow, deny: _deny, ...ofTls } = inner;
  mapPaths(ofTls, (path) => {
    paths.add(resolve(path));
    return path;
  });
  return [...paths].map(signatureOfPath).join('\n');
}

function signatureOfPath(path: string): string {
  try {
    const stats = statSync(fsPath(path), { bigint: true });
    if (!stats.isDirectory()) return [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(':');
    const names = listDirectory({ parameter: '', path, text: '' }, { recursive: true });
    const files = names.filter((name) => name.endsWith('.pem'));
    return files.map((name) => `${name} ${signatureOfPath(join(path, name))}`).join('\n');
  } catch (error) {
    return errorCode(error) ?? 'unreadable';
  }
}
