/**
 * The system calls of the native engine, and every address that they are given. Nothing else in the
 * engine sees a pointer: the rest knows descriptors, the one read buffer, and bytes to be copied.
 *
 * Each call answers what the kernel itself would: a count, or the negative errno.
 */
import { openFunctions } from '../../sys/library.ts';
import { SOCKADDR_IN6_SIZE, SOCKADDR_SIZE } from '../../sys/sockaddr.ts';

const table = {
  epoll_create1: { args: ['word'], result: 'i32' },
  epoll_ctl: { args: ['word', 'word', 'word', 'word'], result: 'i32' },
  epoll_wait: { args: ['word', 'word', 'word', 'word'], result: 'i32' },
  accept4: { args: ['word', 'word', 'word', 'word'], result: 'i32' },
  socket: { args: ['word', 'word', 'word'], result: 'i32' },
  bind: { args: ['word', 'word', 'word'], result: 'i32' },
  connect: { args: ['word', 'word', 'word'], result: 'i32' },
  getsockname: { args: ['word', 'word', 'word'], result: 'i32' },
  getpeername: { args: ['word', 'word', 'word'], result: 'i32' },
  getsockopt: { args: ['word', 'word', 'word', 'word', 'word'], result: 'i32' },
  setsockopt: { args: ['word', 'word', 'word', 'word', 'word'], result: 'i32' },
  recv: { args: ['word', 'word', 'word', 'word'], result: 'i32' },
  send: { args: ['word', 'word', 'word', 'word'], result: 'i32' },
  splice: { args: ['word', 'word', 'word', 'word', 'word', 'word'], result: 'i32' },
  pipe2: { args: ['word', 'word'], result: 'i32' },
  fcntl: { args: ['word', 'word', 'word'], result: 'i32' },
  ioctl: { args: ['word', 'word', 'word'], result: 'i32' },
  read: { args: ['word', 'word', 'word'], result: 'i32' },
  shutdown: { args: ['word', 'word'], result: 'i32' },
  close: { args: ['word'], result: 'i32' },
  __errno_location: { args: [], result: 'u64' },
} as const;

// Operations of epoll_ctl(2), flags of socket(2) and others, the same on x64 and arm64.

const EPOLL_CTL_ADD = 1n;
const EPOLL_CTL_DEL = 2n;
const EPOLL_CTL_MOD = 3n;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 0o2004001n;
const SOCK_NONBLOCK_CLOEXEC = 0o2004000n;
const MSG_PEEK = 2n;
const MSG_NOSIGNAL = 0x4000n;
const MSG_NOSIGNAL_MORE = 0xc000n;
const SPLICE_F_MOVE_NONBLOCK = 3n;
const F_SETPIPE_SZ = 1031n;
const FIONREAD = 0x541bn;
const SOL_SOCKET = 1n;
const SO_ERROR = 4n;
const SO_LINGER = 13n;
const SO_PEERCRED = 17n;
const SHUT_WR = 1n;
const SHUT_RDWR = 2n;
const AF_INET = 2;

/** Bytes that one read takes at most. */
export const READ_SIZE = 64 * 1024;
/** The same where bulk is copied, since it cannot be spliced: fewer calls for the same bytes, which are on their way through the caches anyway. */
export const BULK_READ_SIZE: number = 4 * READ_SIZE;
/** Bytes that a pipe is asked to hold. */
export const PIPE_SIZE = 1024 * 1024;
/** Most events that one wait returns. */
export const MAX_EVENTS = 512;
const MAX_EVENTS_WORD = BigInt(MAX_EVENTS);
const READ_SIZE_WORD = BigInt(READ_SIZE);

/** `struct epoll_event` in 32-bit integers: x64 packs it into 12 bytes, arm64 pads the data to 8. */
const EVENT = process.arch === 'x64' ? { size: 3, dataAt: 1 } : { size: 4, dataAt: 2 };

/** Memory whose address the kernel may be given: the array buffer is its own, never resized, never detached. */
type Pinned = { readonly bytes: Uint8Array<ArrayBuffer>; readonly ints: Int32Array; readonly address: bigint };

/** A socket address in pinned memory. */
export type PinnedAddress = { readonly pinned: Pinned; readonly length: bigint };

/** The calls of one thread, bound for it alone. */
export type Kernel = ReturnType<typeof openKernel>;

/** Throws GraceError when this runtime or this system cannot make the calls. */
export function checkKernel(): void {
  openFunctions(table);
}

/**
 * Bind the calls for the calling thread. Throws GraceError when the runtime cannot call C.
 *
 * @param epollFd what `wait` waits on, which is this thread's from now on; default: a new one
 */
export function openKernel({ epollFd }: { epollFd?: number } = {}) {
  const { functions, memory } = openFunctions(table);
  const {
    epoll_ctl,
    epoll_wait,
    accept4,
    socket,
    bind,
    connect,
    getsockname,
    getpeername,
    recv,
    send,
    splice,
    shutdown,
    close,
    setsockopt,
    getsockopt,
    fcntl,
    ioctl,
    read,
    pipe2,
  } = functions;
  const errno = memory.int32At(functions.__errno_location());

  const pin = (size: number): Pinned => {
    const buffer = new ArrayBuffer(size);
    const bytes = new Uint8Array(buffer);
    return { bytes, ints: new Int32Array(buffer, 0, size >> 2), address: memory.addressOf(bytes) };
  };
  // One block each for as long as the thread lives; the closures below keep them reachable.
  const input = pin(BULK_READ_SIZE); // what is never used of it is no memory
  const events = pin(MAX_EVENTS * EVENT.size * 4);
  const request = pin(EVENT.size * 4);
  const peer = pin(SOCKADDR_SIZE);
  const own = pin(SOCKADDR_SIZE);
  const value = pin(16);
  const valueLength = pin(8);
  const reset = pin(8);
  reset.ints[0] = 1; // l_onoff, with l_linger 0: close() sends a reset
  const inputAddress = input.address;
  const epoll = BigInt(epollFd ?? functions.epoll_create1(0o2000000n));

  // Descriptors and lengths as the calls take them: only the best compiled code makes one without allocating.
  const words: readonly bigint[] = Array.from({ length: 2048 }, (_, number) => BigInt(number));
  const word = (number: number): bigint => words[number] ?? BigInt(number);

  const answer = (result: number): number => (result === -1 ? -errno() : result);

  const controlOf = (set: bigint, operation: bigint, fd: number, mask: number, generation: number): number => {
    request.ints[0] = mask;
    request.ints[EVENT.dataAt] = fd;
    request.ints[EVENT.dataAt + 1] = generation;
    return answer(epoll_ctl(set, operation, word(fd), request.address));
  };
  const control = (operation: bigint, fd: number, mask: number, generation: number): number =>
    controlOf(epoll, operation, fd, mask, generation);

  const ownName = (fd: number): number => {
    valueLength.ints[0] = SOCKADDR_SIZE;
    const failed = answer(getsockname(word(fd), own.address, valueLength.address));
    return failed < 0 ? failed : valueLength.ints[0]!;
  };

  return {
    /** What the last read left; overwritten by the next one. */
    input: input.bytes,
    /** The peer's `struct sockaddr` of the last accept. */
    peer: peer.bytes,

    /** Wait for events; how many there are is returned, and they are read with the next three. */
    wait: (timeoutMs: number): number => answer(epoll_wait(epoll, events.address, MAX_EVENTS_WORD, word(timeoutMs))),
    eventMask: (index: number): number => events.ints[index * EVENT.size]!,
    eventFd: (index: number): number => events.ints[index * EVENT.size + EVENT.dataAt]!,
    eventGeneration: (index: number): number => events.ints[index * EVENT.size + EVENT.dataAt + 1]!,

    watch: (fd: number, mask: number, generation: number): number => control(EPOLL_CTL_ADD, fd, mask, generation),
    /** Have another thread, by its `epollFd`, hear of events. */
    watchFrom: (set: number, fd: number, mask: number, generation: number): number =>
      controlOf(word(set), EPOLL_CTL_ADD, fd, mask, generation),
    rewatch: (fd: number, mask: number, generation: number): number => control(EPOLL_CTL_MOD, fd, mask, generation),
    /** Needed before the close of a descriptor whose socket lives on in a copy: it would go on giving events. */
    unwatch: (fd: number): number => control(EPOLL_CTL_DEL, fd, 0, 0),

    accept(fd: number): number {
      valueLength.ints[0] = SOCKADDR_SIZE;
      return answer(accept4(word(fd), peer.address, valueLength.address, SOCK_NONBLOCK_CLOEXEC));
    },
    socket: (family: number): number => answer(socket(word(family), SOCK_STREAM_NONBLOCK_CLOEXEC, 0n)),
    address(sockaddr: Uint8Array): PinnedAddress {
      const pinned = pin(SOCKADDR_SIZE);
      pinned.bytes.set(sockaddr);
      return { pinned, length: BigInt(sockaddr.length) };
    },
    bind: (fd: number, { pinned, length }: PinnedAddress): number => answer(bind(word(fd), pinned.address, length)),
    connect: (fd: number, { pinned, length }: PinnedAddress): number =>
      answer(connect(word(fd), pinned.address, length)),
    setOption(fd: number, level: number, option: number, setting: number): number {
      value.ints[0] = setting;
      return answer(setsockopt(word(fd), word(level), word(option), value.address, 4n));
    },
    /** The error that waits at a socket, as a positive errno; 0 for none. */
    takeError(fd: number): number {
      valueLength.ints[0] = 4;
      value.ints[0] = 0;
      return getsockopt(word(fd), SOL_SOCKET, SO_ERROR, value.address, valueLength.address) === -1
        ? errno()
        : value.ints[0]!;
    },

    /** The user at the other end of a Unix socket, as of its connect; -1 where that is not known. */
    peerUser(fd: number): number {
      valueLength.ints[0] = 12; // struct ucred: pid, uid, gid
      value.ints[1] = -1;
      return getsockopt(word(fd), SOL_SOCKET, SO_PEERCRED, value.address, valueLength.address) === -1
        ? -1
        : value.ints[1]!;
    },

    /** A copy of the `struct sockaddr` of an IP socket's peer, with zeros behind it up to the size of the longer kind. */
    peerAddress(fd: number): Uint8Array {
      own.bytes.fill(0, 0, SOCKADDR_IN6_SIZE);
      valueLength.ints[0] = SOCKADDR_IN6_SIZE;
      getpeername(word(fd), own.address, valueLength.address); // all zeros where it has none
      return own.bytes.slice(0, SOCKADDR_IN6_SIZE);
    },

    /** The own `struct sockaddr` of the last `ownName`. */
    own: own.bytes,
    /** Have the own `struct sockaddr` of a socket in `own`. Returns its length, or the negative errno. */
    ownName,
    /** Whether a socket's own address and port are those that a `struct sockaddr` leads to; that of no host leads to this machine. */
    isLocalAddress(fd: number, sockaddr: Uint8Array): boolean {
      if (ownName(fd) < 0) return false;
      const isSame = (from: number, to: number) =>
        own.bytes.subarray(from, to).every((byte, index) => byte === sockaddr[from + index]);
      const [from, to] = sockaddr[0] === AF_INET ? [4, 8] : [8, 24];
      return isSame(0, 4) && (isSame(from, to) || isUnspecified(sockaddr, from, to));
    },

    /** Read into `input`. */
    receive: (fd: number): number => answer(recv(word(fd), inputAddress, READ_SIZE_WORD, 0n)),
    /** Read into `input` behind so many bytes that are there. */
    receiveBehind: (fd: number, offset: number): number =>
      answer(recv(word(fd), inputAddress + word(offset), READ_SIZE_WORD - word(offset), 0n)),
    /** Look at the next byte, or so many, without taking them: how many there are, 0 at the end, or the negative errno. They are in `input`. */
    peek: (fd: number, length = 1): number => answer(recv(word(fd), inputAddress, word(length), MSG_PEEK)),
    /** Read into `input` so many bytes at most. */
    take: (fd: number, length: number): number => answer(recv(word(fd), inputAddress, word(length), 0n)),
    /** Read into memory at this address, so many bytes at most. */
    receiveAt: (fd: number, address: bigint, length: number): number =>
      answer(recv(word(fd), address, word(length), 0n)),
    /** As `receiveAt`, without taking them. */
    peekAt: (fd: number, address: bigint, length: number): number =>
      answer(recv(word(fd), address, word(length), MSG_PEEK)),
    /** How many bytes there are to read. */
    available(fd: number): number {
      value.ints[0] = 0;
      return ioctl(word(fd), FIONREAD, value.address) === -1 ? 0 : value.ints[0]!;
    },
    /** Send the first so many bytes of `input`. */
    sendInput: (fd: number, length: number): number => answer(send(word(fd), inputAddress, word(length), MSG_NOSIGNAL)),
    /** The same, when `endSending` or `close` follows at once: the last bytes and the end share a packet. */
    sendLastInput: (fd: number, length: number): number =>
      answer(send(word(fd), inputAddress, word(length), MSG_NOSIGNAL_MORE)),
    /** Send other bytes, which must be the whole or a part of an array buffer of their own. */
    send: (fd: number, bytes: Uint8Array): number =>
      answer(send(word(fd), memory.addressOf(bytes), word(bytes.length), MSG_NOSIGNAL)),
    /** Send so many bytes at this address: to ask the runtime for that of bytes takes about as long as the rest of the call. */
    sendAt: (fd: number, address: bigint, length: number): number =>
      answer(send(word(fd), address, word(length), MSG_NOSIGNAL)),
    /** The same, as `sendLastInput`. */
    sendLastAt: (fd: number, address: bigint, length: number): number =>
      answer(send(word(fd), address, word(length), MSG_NOSIGNAL_MORE)),

    /** A pipe, non-blocking; its size is what the system allows up to PIPE_SIZE. */
    pipe(): { input: number; output: number } | null {
      if (pipe2(value.address, SOCK_NONBLOCK_CLOEXEC) === -1) return null;
      const [output = -1, writeEnd = -1] = value.ints;
      fcntl(word(writeEnd), F_SETPIPE_SZ, BigInt(PIPE_SIZE));
      return { input: writeEnd, output };
    },
    /** Move bytes between a socket and a pipe without copying them. */
    splice: (from: number, to: number, length: number): number =>
      answer(splice(word(from), 0n, word(to), 0n, word(length), SPLICE_F_MOVE_NONBLOCK)),
    /** read(2) into `input`. */
    read: (fd: number): number => answer(read(word(fd), inputAddress, READ_SIZE_WORD)),

    endSending: (fd: number): number => answer(shutdown(word(fd), SHUT_WR)),
    /** End both directions, whoever else has the socket: all of them see its end. */
    endBoth: (fd: number): number => answer(shutdown(word(fd), SHUT_RDWR)),
    close: (fd: number): void => void close(word(fd)),
    /** Close so that a TCP peer sees a reset. */
    closeWithReset(fd: number): void {
      setsockopt(word(fd), SOL_SOCKET, SO_LINGER, reset.address, 8n);
      close(word(fd));
    },
    /** What `wait` waits on. */
    epollFd: Number(epoll),
    closeEpoll: (): void => void close(epoll),
  };
}

function isUnspecified(sockaddr: Uint8Array, from: number, to: number): boolean {
  return sockaddr.subarray(from, to).every((byte) => byte === 0);
}
