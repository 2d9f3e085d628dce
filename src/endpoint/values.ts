/** Readers of argument values: what a number, a path, a host may look like, and what is said otherwise. */
import { isIP } from 'node:net';
import { hostProblem, withoutBrackets } from './address.ts';
import { type Reader, refusal } from './arguments.ts';
import { maxDurationMs, parseDuration } from './duration.ts';
import { isFileOfNetworks, parseNetwork } from './networks.ts';
import { parseRate } from './rate.ts';
import { parseSize } from './size.ts';
import type { Rate } from './rate.ts';

/** A whole number in ASCII digits, nothing else. */
export function integer({ min, max }: { min: number; max: number }): Reader<number> {
  return (value) => {
    const range = `(use ${min}-${max})`;
    if (value.text === '') throw refusal(value, `is empty, not a number ${range}`);
    if (/^-[0-9]+$/.test(value.text)) throw refusal(value, `is out of range ${range}`);
    if (!/^[0-9]+$/.test(value.text)) throw refusal(value, `is not a number ${range}`);
    const number = Number(value.text);
    if (number < min || number > max) throw refusal(value, `is out of range ${range}`);
    return number;
  };
}

const maxInt = 2 ** 31 - 1;

/** 0 lets the system choose. */
export const serverPort = integer({ min: 0, max: 65535 });
/** A port to connect to. */
export const clientPort = integer({ min: 1, max: 65535 });
/** Length of a listen queue; a C int. */
export const backlog = integer({ min: 1, max: maxInt });
/** Number of a descriptor, or position among inherited ones. */
export const descriptor = integer({ min: 0, max: maxInt });
/** How many of something: a C int, at least one. */
export const count = integer({ min: 1, max: maxInt });
/** Seconds; as many as a timer can hold. */
export const timeoutSeconds = integer({ min: 1, max: Math.floor(maxDurationMs / 1000) });

/** Milliseconds of a duration longer than nothing. */
export const duration: Reader<number> = (value) => {
  const ms = parseDuration(value.text);
  if (ms === null) throw refusal(value, 'is not a duration (use 500ms, 30s, 5m, 2h or a number of seconds)');
  if (ms === 0) throw refusal(value, 'is no time at all');
  if (ms > maxDurationMs) throw refusal(value, 'is out of range (at most 596h)');
  return ms;
};

/** Bytes that are kept of a connection, each way. */
export const bufferSize: Reader<number> = (value) => {
  const bytes = parseSize(value.text);
  if (bytes === null) throw refusal(value, 'is not a size (use 64k, 1m or a number of bytes)');
  if (bytes < 2 ** 14 || bytes > 2 ** 20) throw refusal(value, 'is out of range (use 16k-1m)');
  return bytes;
};

/** Idle time before keep-alive probes in ms; 0 for `no`, undefined for `yes`, which is what happens anyway. */
export const keepalive: Reader<number | undefined> = (value) => {
  if (value.text === 'yes') return undefined;
  if (value.text === 'no') return 0;
  if (parseDuration(value.text) === null)
    throw refusal(value, 'is not a duration, nor yes or no (use 30s, 5m, yes, no)');
  return duration(value);
};

/** `0` or `1`, `false` or `true`. */
export const lockfile: Reader<boolean> = (value) => {
  if (value.text === '1' || value.text === 'true') return true;
  if (value.text === '0' || value.text === 'false') return false;
  throw refusal(value, 'is not a number (use 0 or 1)');
};

/** How `lockfile` is written. */
export function zeroOrOne(isLocked: boolean): string {
  return isLocked ? '1' : '0';
}

/** Octal permissions in the shortest form: `0640` is `640`. */
export const mode: Reader<string> = (value) => {
  if (!/^[0-7]{1,5}$/.test(value.text) || Number.parseInt(value.text, 8) > 0o7777) {
    throw refusal(value, 'is not an octal number (use 0-7777, such as 660)');
  }
  return Number.parseInt(value.text, 8).toString(8);
};

/** A path as it was typed; it is made absolute elsewhere. */
export const path: Reader<string> = (value) => {
  if (value.text === '') throw refusal(value, 'is empty, not a path');
  if (value.text.includes('\0')) throw refusal(value, 'is not a path, for it holds a NUL');
  return value.text;
};

/** Path of a Unix socket; a NUL at its start makes it a name in Linux's abstract namespace. */
export const socketPath: Reader<string> = (value) => {
  return value.text.startsWith('\0') ? abstractName({ ...value, text: value.text.slice(1) }) : path(value);
};

/** What the path of a Unix socket is, for people. */
export function socketMeaning(address: string): string {
  return address.startsWith('\0') ? 'name in the abstract namespace of Linux, not a file' : 'path of the socket';
}

/** A name in Linux's abstract namespace, as the path that it stands for: the name after a NUL. */
export const abstractName: Reader<string> = (value) => {
  if (value.text === '') throw refusal(value, 'is empty, not a name');
  if (value.text.includes('\0')) throw refusal(value, 'is not a name, for it holds a NUL');
  return `\0${value.text}`;
};

/** Name or address of a host; an IPv6 address may have brackets, which go. */
export const host: Reader<string> = (value) => {
  const name = withoutBrackets(value.text);
  const problem = hostProblem(name);
  if (problem !== null) throw refusal(value, `is a bad host name: ${problem}`);
  return name;
};

/** Address to connect from: an IP address, since the port is the system's choice. */
export const localAddress: Reader<string> = (value) => {
  const address = withoutBrackets(value.text);
  if (isIP(address) === 0) throw refusal(value, 'is not an IP address');
  return address;
};

/** Name of a service in DNS, whole; at its end a dot may stand. */
export const serviceName: Reader<string> = (value) => {
  const problem = hostProblem(value.text);
  if (problem !== null) throw refusal(value, `is a bad name: ${problem}`);
  if (isIP(value.text) !== 0) throw refusal(value, 'is an address, not the name of a service');
  if (!/.\../.test(value.text)) throw refusal(value, 'is not the name of a service (use _SERVICE._tcp.DOMAIN)');
  return value.text;
};

/** Address or name to bind; empty is every IPv4 address. */
export const bindAddress: Reader<string> = (value) => {
  const address = withoutBrackets(value.text);
  // Any other text may be a name that the hosts file knows; these never are.
  if (/[\s\0]/.test(address)) throw refusal(value, 'is not an address');
  if (address.includes(':') && isIP(address) === 0) throw refusal(value, 'is not an IPv6 address');
  if (/^[0-9]+(\.[0-9]+){3}$/.test(address) && isIP(address) === 0) throw refusal(value, 'is not an IPv4 address');
  return address;
};

/** One of some words, exactly as they are. */
export function choice<Word extends string>(...words: readonly Word[]): Reader<Word> {
  return (value) => {
    const found = words.find((word) => word === value.text);
    if (found === undefined) throw refusal(value, `is not known (use ${words.join(' or ')})`);
    return found;
  };
}

/** True for `yes`; undefined for `no`, which is what is so anyway. */
export const yes: Reader<true | undefined> = (value) => (choice('yes', 'no')(value) === 'yes' ? true : undefined);

/** ALPN protocol names, separated by commas, most preferred first (RFC 7301: 1 to 255 bytes each). */
export const alpn: Reader<readonly string[]> = (value) => {
  const names = value.text.split(',');
  for (const name of names) {
    const bytes = new TextEncoder().encode(name).length;
    if (bytes < 1 || bytes > 255) throw refusal(value, 'is not a list of protocols (use h2,http/1.1)');
  }
  if (new Set(names).size < names.length) throw refusal(value, 'names a protocol twice');
  return names;
};

/** Addresses and networks (192.0.2.0/24), separated by commas. */
export const networks: Reader<readonly string[]> = (value) => {
  const ranges = value.text.split(',');
  for (const range of ranges) {
    const [, address = '', bits] = /^([^/]*)(?:\/([0-9]{1,3}))?$/.exec(range) ?? [];
    const family = isIP(address);
    if (family === 0 || Number(bits ?? 0) > (family === 4 ? 32 : 128))
      throw refusal(value, 'is not a list of addresses and networks (use 10.0.0.0/8,192.0.2.1)');
  }
  return ranges;
};

/** Addresses, networks and files of them (`@FILE`), separated by commas. */
export const networkList: Reader<readonly string[]> = (value) => {
  const items = value.text.split(',');
  for (const item of items) {
    if (item === '@') throw refusal(value, 'names no file after @ (use @FILE)');
    if (isFileOfNetworks(item) ? item.includes('\0') : parseNetwork(item) === null)
      throw refusal(value, 'is not a list of addresses and networks (use 10.0.0.0/8,192.0.2.1, or @FILE)');
  }
  return items;
};

/** Fields of a PROXY header of version 2, separated by commas; or that it has none. */
export const proxyTlv: Reader<readonly string[]> = (value) => {
  const names = value.text.split(',');
  const isKnown = names.every((name) => name === 'crc32c' || name === 'unique-id');
  if (value.text !== 'none' && !isKnown) throw refusal(value, 'is not known (use crc32c, unique-id, both, or none)');
  if (new Set(names).size < names.length) throw refusal(value, 'names one twice');
  return names;
};

/** How many of something in a time, and how many at once. */
export const rate: Reader<Rate> = (value) => {
  const found = parseRate(value.text);
  if (found === null)
    throw refusal(value, 'is not a rate (use 50/s, 100/m, or with its colon escaped 50/s\\:burst=100)');
  return found;
};
