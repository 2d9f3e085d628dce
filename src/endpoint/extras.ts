/** grace's own parameters, beyond Twisted's. All are given by name only. */
import type { Arguments, Reader } from './arguments.ts';
import type { ClientExtras, ClientTlsExtras, ServerExtras, ServerTlsExtras } from './model.ts';
import { alpn, choice, count, duration, host, keepalive, path } from './values.ts';

/** Of every listener, whatever it listens on. */
export type ServerExtra = 'maxconn' | 'idle' | 'proxy';
export const serverExtraNames: readonly ServerExtra[] = ['maxconn', 'idle', 'proxy'];

/** Those that are given. */
export function readServerExtras(args: Arguments<ServerExtra>): ServerExtras {
  const extras: ServerExtras = {};
  if (args.has('maxconn')) extras.maxconn = args.read('maxconn', count);
  if (args.has('idle')) extras.idle = args.read('idle', duration);
  if (args.has('proxy')) extras.proxy = args.read('proxy', choice('accept'));
  return extras;
}

/** Of listeners that speak TLS. */
export type ServerTlsExtra = 'alpn' | 'sni' | 'clientCA';

/** `sni` is not for the type that chooses by name anyway. */
export function readServerTlsExtras(args: Arguments<'alpn' | 'clientCA'>): ServerTlsExtras {
  const extras: ServerTlsExtras = {};
  if (args.has('alpn')) extras.alpn = args.read('alpn', alpn);
  if (args.has('clientCA')) extras.clientCA = args.read('clientCA', path);
  return extras;
}

/** Of every destination. */
export type ClientExtra = 'retry' | 'proxy' | 'keepalive';
export const clientExtraNames: readonly ClientExtra[] = ['retry', 'proxy', 'keepalive'];

/** Those that are given. */
export function readClientExtras(args: Arguments<ClientExtra>): ClientExtras {
  const extras: ClientExtras = {};
  if (args.has('retry')) extras.retry = args.read('retry', duration);
  if (args.has('proxy')) extras.proxy = args.read('proxy', choice('v1', 'v2'));
  const keepaliveMs = args.readOr('keepalive', keepalive, null);
  if (keepaliveMs !== null) extras.keepalive = keepaliveMs;
  return extras;
}

/** Of destinations that speak TLS. */
export type ClientTlsExtra = 'serverName' | 'insecure' | 'alpn';
export const clientTlsExtraNames: readonly ClientTlsExtra[] = ['serverName', 'insecure', 'alpn'];

/** Those that are given; `insecure=no` is the default and says nothing. */
export function readClientTlsExtras(args: Arguments<ClientTlsExtra>): ClientTlsExtras {
  const extras: ClientTlsExtras = {};
  if (args.has('serverName')) extras.serverName = args.read('serverName', host);
  if (args.readOr('insecure', yesOrNo, 'no') === 'yes') extras.insecure = true;
  if (args.has('alpn')) extras.alpn = args.read('alpn', alpn);
  return extras;
}

const yesOrNo: Reader<'yes' | 'no'> = choice('yes', 'no');
