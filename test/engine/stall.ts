import type { Socket } from 'node:net';

/** Write so many bytes and end, as fast as the socket takes them. */
export function writeMuch(socket: Socket, bytes: number): void {
  const chunk = Buffer.alloc(65536, 'z');
  let left = bytes;
  const more = () => {
    while (left > 0) {
      const size = Math.min(left, chunk.length);
      left -= size;
      if (!socket.write(chunk.subarray(0, size))) return void socket.once('drain', more);
    }
    socket.end();
  };
  more();
}

/** Resolves when a counter that went up has stayed the same over many turns of the loop. */
export async function stalled(counter: () => number): Promise<void> {
  for (let last = -1, quiet = 0; quiet < 12 || last <= 0;) {
    await new Promise((resolve) => setTimeout(resolve, 10)); // that nothing comes any more, only time can tell
    quiet = counter() === last ? quiet + 1 : 0;
    last = counter();
  }
}
