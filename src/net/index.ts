/// <reference types="node" preserve="true" />
/**
 * Listening sockets that belong to the service, not to a process: opened or inherited, and passed to
 * the next process. The environment is systemd's (LISTEN_FDS), so a socket unit can open them as well.
 */
import './runtime.ts';
export { GraceError } from '../error.ts';
export type { GraceErrorOptions } from '../error.ts';
export { takeInherited } from './inherit.ts';
export type { Environment, Inherited } from './inherit.ts';
export { originalInvocation } from './invocation.ts';
export type { Invocation } from './invocation.ts';
export { adoptFd, formatAddress } from './listener.ts';
export type { Listener, ListenerAddress, SocketFile } from './listener.ts';
export { Net } from './net.ts';
export type { ListenOptions, NetOptions } from './net.ts';
export { openNotifier } from './notify.ts';
export type { Notifier } from './notify.ts';
export { openListener } from './open.ts';
export type { ListenSpec, TcpSpec, UnixSpec } from './open.ts';
export { takeParent } from './parent.ts';
export type { Parent } from './parent.ts';
export { openServingNotice } from './serving-notice.ts';
export type { ServingNotice } from './serving-notice.ts';
export type { ProcessOptions, ProcessStdio } from './start-program.ts';
export { serveOn } from './serve-on.ts';
export { removeSocketPath, takeOverSocketPath } from './unix-path.ts';
