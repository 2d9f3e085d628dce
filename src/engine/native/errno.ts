/** Errors of system calls (errno(3)) as Linux numbers them, the same on x64 and arm64. */

/** A signal came first. */
export const EINTR = 4;
/** Nothing can be done without waiting. */
export const EAGAIN = 11;
/** The system has no memory left. */
export const ENOMEM = 12;
/** What was asked cannot be done; of accept(2): the socket was shut down. */
export const EINVAL = 22;
/** This process has no descriptors left. */
export const EMFILE = 24;
/** What came does not follow its protocol. */
export const EPROTO = 71;
/** There is no address or no port to connect from. */
export const EADDRNOTAVAIL = 99;
/** A client was gone before it was accepted. */
export const ECONNABORTED = 103;
/** The peer has ended the connection at once. */
export const ECONNRESET = 104;
/** The system has no memory for buffers left. */
export const ENOBUFS = 105;
/** Nobody listens there. */
export const ECONNREFUSED = 111;
/** A connect(2) is under way. */
export const EINPROGRESS = 115;
