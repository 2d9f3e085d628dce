/** What a person has grace read whole, from a file, a pipe or a device: never more than somebody can have meant. */
import { createReadStream } from 'node:fs';
import { GraceError } from '../error.ts';
import { describeError } from '../sys/system-error.ts';

/** The bytes of a file, which may be a FIFO. Rejects with GraceError (exit code 2) for what cannot be read, or is larger; `what` is what messages call it. */
export async function readFileWithin(
  path: string,
  { maxBytes, what }: { maxBytes: number; what: string },
): Promise<Buffer> {
  // One byte more than it may have shows that it is larger.
  return await readWithin(createReadStream(path, { end: maxBytes }), { maxBytes, what });
}

/** The same of a stream, which is destroyed when it is larger. */
export async function readWithin(
  stream: AsyncIterable<Buffer>,
  { maxBytes, what }: { maxBytes: number; what: string },
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of stream) {
      parts.push(part);
      length += part.length;
      if (length > maxBytes) break;
    }
  } catch (error) {
    throw new GraceError(`cannot read ${what}: ${describeError(error)}`, { code: 'ERR_GRACE_USAGE', cause: error });
  }
  if (length > maxBytes)
    throw new GraceError(`cannot read ${what}: it is larger than ${maxBytes / (1 << 20)} MiB`, {
      code: 'ERR_GRACE_USAGE',
    });
  return Buffer.concat(parts);
}
