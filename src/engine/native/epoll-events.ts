/** Events of epoll(7) as Linux numbers them, the same on x64 and arm64, and which are asked of what socket. */

/** Bytes, a client or an end have come. */
export const EPOLLIN = 0x1;
/** Urgent bytes have come. */
export const EPOLLPRI = 0x2;
/** Bytes can be written, or a connect(2) has succeeded. */
export const EPOLLOUT = 0x4;
/** An error waits, or a connect(2) has failed. */
export const EPOLLERR = 0x8;
/** Both directions have ended. */
export const EPOLLHUP = 0x10;
/** The peer has ended its direction. */
export const EPOLLRDHUP = 0x2000;
/** Of all that wait for a descriptor, one is woken. */
export const EPOLLEXCLUSIVE = 1 << 28;
/** Tell of changes alone. */
export const EPOLLET = 1 << 31;
/** What is asked of a TCP socket: edge-triggered, and that it can be written only after a write that it could not take. */
export const TCP_EVENTS: number = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
/** Of a Unix socket, which would tell of room at every read of its peer: room is asked for only while bytes wait. */
export const UNIX_EVENTS: number = EPOLLIN | EPOLLRDHUP | EPOLLET;
/** The same in a TLS handshake. A socket can be written at once: the first event comes also of a client that never says a word, and whose time counts. */
export const HANDSHAKE_EVENTS: number = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
