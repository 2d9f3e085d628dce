import { C, isDarwin, SCM_RIGHTS } from './constants.ts';
import { check, libc } from './libc.ts';
import { encodeSockaddr } from './sockaddr.ts';
import type { SocketAddress } from './sockaddr.ts';

/** Most descriptors that Linux takes in one message (SCM_MAX_FD). */
export const MAX_FDS_PER_MESSAGE = 253;

/** Layout of `struct msghdr` and `struct cmsghdr` on 64-bit systems. */
const LAYOUT = isDarwin
  ? { headerSize: 48, controlLengthAt: 40, flagsAt: 44, cmsgLengthSize: 4, cmsgDataAt: 12, cmsgAlign: 4 }
  : { headerSize: 56, controlLengthAt: 40, flagsAt: 48, cmsgLengthSize: 8, cmsgDataAt: 16, cmsgAlign: 8 };

/** One block of memory that holds the header, its vector, the address, the control data and the payload. */
type MessageBlock = { view: DataView; bytes: Uint8Array<ArrayBuffer>; controlAt: number; dataAt: number };

function makeBlock({
  name,
  controlSize,
  dataSize,
}: {
  name: Uint8Array | null;
  controlSize: number;
  dataSize: number;
}): MessageBlock {
  const vectorAt = 56;
  const nameAt = vectorAt + 16;
  const controlAt = nameAt + align(name?.length ?? 0, 8);
  const dataAt = controlAt + align(controlSize, 8);
  const bytes = new Uint8Array(new ArrayBuffer(Math.max(dataAt + dataSize, 1)));
  const view = new DataView(bytes.buffer);
  const base = libc().memory.addressOf(bytes);
  if (name !== null) {
    bytes.set(name, nameAt);
    view.setBigUint64(0, base + BigInt(nameAt), true);
    view.setUint32(8, name.length, true);
  }
  view.setBigUint64(16, base + BigInt(vectorAt), true);
  view.setUint32(24, 1, true);
  view.setBigUint64(vectorAt, base + BigInt(dataAt), true);
  view.setBigUint64(vectorAt + 8, BigInt(dataSize), true);
  if (controlSize > 0) {
    view.setBigUint64(32, base + BigInt(controlAt), true);
    view.setUint32(LAYOUT.controlLengthAt, controlSize, true);
  }
  return { view, bytes, controlAt, dataAt };
}

function align(size: number, to: number): number {
  return Math.ceil(size / to) * to;
}

/** What goes with a message, and where it goes. */
export type SendOptions = {
  /** Descriptors to send along (SCM_RIGHTS), {@link MAX_FDS_PER_MESSAGE} at most; the caller keeps its own. */
  fds?: readonly number[];
  /** Destination of an unconnected datagram socket. */
  to?: SocketAddress;
  /** Let a blocking socket wait for room, as long as its SO_SNDTIMEO says. */
  wait?: boolean;
};

/**
 * sendmsg(2) without SIGPIPE, and without waiting unless told so. Returns how many bytes were taken; on a stream that
 * may be a part of them, and the descriptors went with the first. At least one byte of data is needed
 * to carry descriptors over a stream.
 *
 * @throws SystemError EAGAIN when the peer's buffer is full, EPIPE when it is gone.
 */
export function sendMessage(fd: number, data: Uint8Array, { fds = [], to, wait = false }: SendOptions = {}): number {
  if (fds.length > MAX_FDS_PER_MESSAGE)
    throw new RangeError(`${fds.length} descriptors in a message, at most ${MAX_FDS_PER_MESSAGE} fit`);
  const used = LAYOUT.cmsgDataAt + 4 * fds.length;
  const block = makeBlock({
    name: to === undefined ? null : encodeSockaddr(to),
    controlSize: fds.length === 0 ? 0 : align(used, LAYOUT.cmsgAlign),
    dataSize: data.length,
  });
  block.bytes.set(data, block.dataAt);
  if (fds.length > 0) {
    const { view, controlAt } = block;
    view.setUint32(controlAt, used, true);
    view.setInt32(controlAt + LAYOUT.cmsgLengthSize, C.SOL_SOCKET, true);
    view.setInt32(controlAt + LAYOUT.cmsgLengthSize + 4, SCM_RIGHTS, true);
    fds.forEach((sent, i) => view.setInt32(controlAt + LAYOUT.cmsgDataAt + 4 * i, sent, true));
  }
  return check(libc().sendmsg(fd, block.bytes, C.MSG_NOSIGNAL | (wait ? 0 : C.MSG_DONTWAIT)), 'sendmsg');
}

/** A message, with what came along. */
export type ReceivedMessage = {
  /** Empty at the end of a stream. */
  data: Uint8Array;
  /** Close-on-exec, owned by the caller. */
  fds: number[];
  /** Descriptors were lost: there was no room for them here or in this process (MSG_CTRUNC). */
  fdsTruncated: boolean;
  /** The datagram was longer than the buffer (MSG_TRUNC). */
  dataTruncated: boolean;
};

/**
 * recvmsg(2) with room for `size` bytes and `maxFds` descriptors; null when a non-blocking read finds
 * nothing. With `wait` a blocking socket blocks the thread until something comes.
 */
export function receiveMessage(
  fd: number,
  { size, maxFds = 0, wait = false }: { size: number; maxFds?: number; wait?: boolean },
): ReceivedMessage | null {
  const controlSize = maxFds === 0 ? 0 : align(LAYOUT.cmsgDataAt + 4 * maxFds, 8);
  const block = makeBlock({ name: null, controlSize, dataSize: size });
  const received = libc().recvmsg(fd, block.bytes, C.MSG_CMSG_CLOEXEC | (wait ? 0 : C.MSG_DONTWAIT));
  // EAGAIN is 11 on Linux and 35 on macOS.
  if (received === -1 && libc().errno() === (isDarwin ? 35 : 11)) return null;
  check(received, 'recvmsg');
  const flags = block.view.getInt32(LAYOUT.flagsAt, true);
  return {
    data: block.bytes.slice(block.dataAt, block.dataAt + received),
    fds: readFds(block),
    fdsTruncated: (flags & C.MSG_CTRUNC) !== 0,
    dataTruncated: (flags & C.MSG_TRUNC) !== 0,
  };
}

function readFds({ view, controlAt }: MessageBlock): number[] {
  const fds: number[] = [];
  const end = controlAt + view.getUint32(LAYOUT.controlLengthAt, true);
  for (let at = controlAt; at + LAYOUT.cmsgDataAt <= end;) {
    const length = view.getUint32(at, true);
    const level = view.getInt32(at + LAYOUT.cmsgLengthSize, true);
    const type = view.getInt32(at + LAYOUT.cmsgLengthSize + 4, true);
    if (level === C.SOL_SOCKET && type === SCM_RIGHTS) {
      for (let fdAt = at + LAYOUT.cmsgDataAt; fdAt + 4 <= at + length; fdAt += 4) fds.push(view.getInt32(fdAt, true));
    }
    at += Math.max(align(length, LAYOUT.cmsgAlign), LAYOUT.cmsgDataAt);
  }
  return fds;
}
