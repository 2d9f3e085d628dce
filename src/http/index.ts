/// <reference types="node" preserve="true" />
/**
 * Servers that stop without failing a request, and restart without refusing one: {@link serve}.
 */
import '../net/runtime.ts';
export { GraceError } from '../error.ts';
export type { GraceErrorOptions } from '../error.ts';
export type { Address, TcpAddress, UnixAddress } from './address.ts';
export { serve } from './serve.ts';
export type { ServeOptions, Target } from './serve.ts';
