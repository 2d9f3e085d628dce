/** The limit of what is kept of a connection in memory, where its frontend has one. */
import { LIMITED } from './connection-table.ts';
import type { Thread } from './thread.ts';

/** Mark both legs of a connection whose frontend limits their buffers: the relay asks for how much of those that are marked alone. */
export function limitBuffers({ table, frontends }: Thread, client: number, server: number): void {
  const bytes = frontends.get(table.frontend(client))?.plan.bufferBytes ?? null;
  if (bytes !== null) for (const fd of [client, server]) table.set(fd, LIMITED);
}
