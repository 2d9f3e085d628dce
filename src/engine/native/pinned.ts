/** Bytes that stay where they are: the kernel and libssl may be given their address, and nothing else lies in their array buffer. */

/**
 * A copy of bytes in an array buffer of its own. Without one V8 has few bytes in its heap, where they move; and what is sent to
 * another thread is all of an array buffer, that of Node's pool too.
 */
export function pinnedCopy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const own = new Uint8Array(new ArrayBuffer(bytes.length));
  own.set(bytes);
  return own;
}
