/** The local address of a listening socket, as the system reports it. */
export type ListenerAddress =
  | { family: 'inet' | 'inet6'; host: string; port: number }
  /** `path` starts with NUL for Linux's abstract namespace. */
  | { family: 'unix'; path: string };

/**
 * A listening socket that belongs to the service rather than to this process: opened here or
 * inherited, served by any number of engines or servers (each on a duplicate), handed to a successor.
 * Closing it closes this process's copy only; the queue of the socket lives as long as any copy.
 */
export type Listener = {
  /** Descriptor owned by this object. Never close it directly; close-on-exec is set. */
  readonly fd: number;
  /** Name under which it is handed on (LISTEN_FDNAMES). */
  readonly name: string;
  readonly address: ListenerAddress;
  /** Length of the accept queue; to be passed whenever a runtime calls listen(2) again. */
  readonly backlog: number;
  /** Inode number of the socket, to tell "the very same socket" from "the same address". */
  readonly inode: number;
  readonly isOpen: boolean;
  /** Another descriptor of the same open socket, close-on-exec, owned by the caller. */
  dup(): number;
  /** Close this process's copy; twice is fine. Does not remove the path of a Unix socket. */
  close(): void;
};
