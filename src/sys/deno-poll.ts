import { openDenoFunctions } from './deno-library.ts';

const POLLIN = 1;

/**
 * Wait until one of the descriptors can be read, on another thread than the calling one, by poll(2). Deno only.
 * Resolves early when a signal comes: look, and wait again.
 */
export async function waitUntilReadable(fds: readonly number[]): Promise<void> {
  poll ??= openDenoFunctions(table, { areInBackground: true }).functions.poll as unknown as BackgroundPoll;
  const request = new Int32Array(fds.flatMap((fd) => [fd, POLLIN])); // struct pollfd: fd, and events in 16 bits
  await poll(new Uint8Array(request.buffer), BigInt(fds.length), -1);
}

const table = { poll: { args: ['bytes', 'u64', 'i32'], result: 'i32' } } as const;
type BackgroundPoll = (fds: Uint8Array, count: bigint, timeoutMs: number) => Promise<number>;
let poll: BackgroundPoll | undefined;
