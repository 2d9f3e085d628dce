/** The types of server endpoints with their parameters. Names, orders and defaults are Twisted's, but for the backlog and what extras.ts adds. */
import { isIPv6 } from 'node:net';
import { familyOf } from './address.ts';
import { refusal } from './arguments.ts';
import type { Reader } from './arguments.ts';
import {
  needsTls,
  serverAddressExtras,
  serverExtras,
  serverNameExtras,
  serverTcpExtras,
  serverTlsExtras,
} from './extras.ts';
import type { BindableServer } from './model.ts';
import { defaulted, required, shapeOf } from './parameter.ts';
import type { AnyShape } from './parameter.ts';
import * as values from './values.ts';
import { tlsMethodNames, tlsVersions } from './versions.ts';

/** Where none is named. The system caps it at its own limit; with Twisted's 50, most of a burst of clients wait a second and more. */
const defaultBacklog = 4096;

const ofRate = 'the colon inside a value is escaped: ratePer=50/s\\:burst=100';
const tlsOnly = {
  burst: ofRate,
  ...Object.fromEntries(Object.keys({ ...serverTlsExtras, ...serverNameExtras }).map((name) => [name, needsTls])),
  privateKey: needsTls,
  certKey: needsTls,
};

const portMeaning = (port: number) => (port === 0 ? 'the system chooses a free TCP port' : 'TCP port');
const port = required({ read: values.serverPort, meaning: portMeaning, placeholder: 'PORT' });
const backlog = defaulted(defaultBacklog, {
  read: values.backlog,
  meaning: 'connections that may wait to be accepted',
  placeholder: 'NUMBER',
});

function interfaceMeaning(address: string, { type }: { type?: unknown }): string {
  if (address === '' || address === '0.0.0.0') return 'every IPv4 address of this machine';
  if (address === '::') return 'every address of this machine, IPv6 and IPv4';
  if (isIPv6(address)) return address === '::1' ? 'this machine only, over IPv6' : 'this IPv6 address only';
  if (/^127\.[0-9.]+$/.test(address)) return 'this machine only';
  return /^[0-9.]+$/.test(address)
    ? 'this address only'
    : `the ${type === 'tcp6' ? 'IPv6' : 'IPv4'} address that this name has`;
}

function interfaceOr(fallback: string, note?: string, read: Reader<string> = values.bindAddress) {
  return defaulted(fallback, {
    read,
    isAddress: true,
    meaning: interfaceMeaning,
    placeholder: 'ADDRESS',
    ...(note !== undefined && { note }),
  });
}

const ipv6Address: Reader<string> = (value) => {
  const address = values.bindAddress(value);
  if (address === '' || familyOf(address) === 4) throw refusal(value, 'is not an IPv6 address', 'use tcp for IPv4');
  return address;
};

const tcpUsage = (type: string) => `${type}:PORT[:interface=ADDRESS][:backlog=NUMBER]`;

const tcp = shapeOf({
  type: 'tcp',
  meaning: 'TCP',
  usage: tcpUsage('tcp'),
  parameters: {
    port,
    interface: interfaceOr('', 'every IPv4 address'),
    backlog,
    ...serverAddressExtras,
    ...serverExtras,
    ...serverTcpExtras,
  },
  positional: ['port', 'interface', 'backlog'],
  printed: 1,
  foreign: tlsOnly,
});

const tcp6 = shapeOf({
  type: 'tcp6',
  meaning: 'TCP over IPv6',
  usage: tcpUsage('tcp6'),
  parameters: {
    port,
    interface: interfaceOr('::', '::, which takes IPv4 too', ipv6Address),
    backlog,
    ...serverAddressExtras,
    ...serverExtras,
    ...serverTcpExtras,
  },
  positional: ['port', 'backlog', 'interface'],
  printed: 1,
  foreign: tlsOnly,
});

const sslmethod: Reader<string> = (value) => {
  if (tlsMethodNames.includes(value.text)) return value.text;
  throw refusal(value, 'is an unknown TLS method', `leave it out, or use one of ${tlsMethodNames.join(', ')}`);
};

const ssl = shapeOf({
  type: 'ssl',
  meaning: 'TLS over TCP',
  usage: 'ssl:PORT[:privateKey=FILE][:certKey=FILE][:extraCertChain=FILE][:interface=ADDRESS]',
  parameters: {
    port,
    interface: interfaceOr(''),
    backlog,
    privateKey: defaulted('server.pem', {
      read: values.path,
      isPath: true,
      meaning: 'file of the private key',
      placeholder: 'FILE',
    }),
    certKey: defaulted(({ privateKey }) => privateKey as string, {
      read: values.path,
      isPath: true,
      meaning: 'file of the certificate and its chain',
      placeholder: 'FILE',
    }),
    sslmethod: defaulted(null, {
      read: sslmethod,
      meaning: (name, { minTLS }) => {
        if (minTLS !== undefined && name === null) return 'minTLS says it';
        return tlsVersions(name).maxVersion === undefined ? 'TLS 1.2 or later' : 'TLS 1.2 and no other version';
      },
      placeholder: 'NAME',
    }),
    extraCertChain: defaulted(null, {
      read: values.path,
      isPath: true,
      meaning: (file) =>
        file === null ? 'no further certificates are sent' : 'file of certificates to send after those of certKey',
      placeholder: 'FILE',
    }),
    dhParameters: defaulted(null, {
      read: values.path,
      isPath: true,
      meaning: (file) => (file === null ? 'no finite-field Diffie-Hellman' : 'file of Diffie-Hellman parameters'),
      placeholder: 'FILE',
    }),
    ...serverTlsExtras,
    ...serverNameExtras,
    ...serverAddressExtras,
    ...serverExtras,
    ...serverTcpExtras,
  },
  positional: ['port', 'privateKey', 'certKey', 'sslmethod', 'interface', 'backlog', 'extraCertChain', 'dhParameters'],
  printed: 1,
  foreign: { burst: ofRate },
});

const tls = shapeOf({
  type: 'tls',
  meaning: 'TLS over TCP, with the certificate for the name that the client asks for',
  usage: 'tls:DIRECTORY[:PORT][:interface=ADDRESS][:backlog=NUMBER]',
  parameters: {
    path: required({
      read: values.path,
      isPath: true,
      meaning: 'directory of keys and certificates, searched for .pem files',
      placeholder: 'DIRECTORY',
    }),
    port: defaulted(443, { read: values.serverPort, meaning: portMeaning, placeholder: 'PORT' }),
    interface: interfaceOr('::'),
    backlog,
    ...serverTlsExtras,
    ...serverAddressExtras,
    ...serverExtras,
    ...serverTcpExtras,
  },
  positional: ['path', 'port', 'backlog', 'interface'],
  printed: 2,
  foreign: {
    burst: ofRate,
    sni: 'the certificates of the directory are chosen by name anyway',
    privateKey: 'keys and certificates are found in the directory; ssl takes them by name',
    certKey: 'keys and certificates are found in the directory; ssl takes them by name',
  },
});

const isAbstract = ({ address }: { address?: unknown }) => `${address as string}`.startsWith('\0');

const unix = shapeOf({
  type: 'unix',
  meaning: 'Unix socket',
  usage: 'unix:PATH[:mode=660][:backlog=NUMBER][:lockfile=0]',
  parameters: {
    address: required({ read: values.socketPath, isPath: true, meaning: values.socketMeaning, placeholder: 'PATH' }),
    mode: defaulted('666', {
      read: values.mode,
      meaning: (_, endpoint) =>
        isAbstract(endpoint) ? 'of no use without a file' : 'permissions of the socket, octal',
      placeholder: '660',
    }),
    backlog,
    lockfile: defaulted((fields) => !isAbstract(fields), {
      read: values.lockfile,
      write: values.zeroOrOne,
      meaning: (isLocked) => (isLocked ? 'ADDRESS.lock keeps others away' : 'no lock'),
      placeholder: '0',
    }),
    ...serverExtras,
  },
  positional: ['address', 'mode', 'backlog', 'lockfile'],
  printed: 1,
  keywords: ['abstract'],
  aliases: { path: 'address' },
  foreign: tlsOnly,
});

const domain: Reader<'INET' | 'INET6' | 'UNIX'> = (value) => {
  const family = (['INET', 'INET6', 'UNIX'] as const).find((name) => name === value.text.toUpperCase());
  if (family !== undefined) return family;
  // The likely slip: an index where the family stands.
  const hint = /^[0-9]+$/.test(value.text) ? `write systemd:index=${value.text}` : undefined;
  throw refusal(value, 'is an unknown family (use INET, INET6 or UNIX)', hint);
};

const socketName: Reader<string> = (value) => {
  // systemd.socket(5), FileDescriptorName=: the names come in one variable, separated by colons.
  if (!/^[\u0020-\u007e]{1,255}$/.test(value.text) || value.text.includes(':')) {
    throw refusal(value, 'cannot be the name of an inherited socket');
  }
  return value.text;
};

const systemd = shapeOf({
  type: 'systemd',
  meaning: 'socket that systemd opened',
  usage: 'systemd:index=NUMBER or systemd:name=NAME, with domain=INET, INET6 or UNIX if you like',
  parameters: {
    domain: defaulted(null, {
      read: domain,
      meaning: (family) => (family === null ? 'whatever address family it is of' : 'address family that it must be of'),
      placeholder: 'INET',
    }),
    index: defaulted(null, {
      read: values.descriptor,
      meaning: (index) => (index === null ? 'chosen by name' : 'which of the inherited sockets, from 0'),
      placeholder: 'NUMBER',
    }),
    name: defaulted(null, {
      read: socketName,
      meaning: (name) => (name === null ? 'chosen by index' : 'which of the inherited sockets, by FileDescriptorName='),
      placeholder: 'NAME',
    }),
    ...serverExtras,
  },
  positional: ['domain', 'index', 'name'],
  printed: 0,
  foreign: tlsOnly,
});

const fd = shapeOf({
  type: 'fd',
  meaning: 'socket that the process inherited',
  usage: 'fd:NUMBER',
  parameters: {
    fd: required({ read: values.descriptor, meaning: 'number of its descriptor', placeholder: 'NUMBER' }),
    ...serverExtras,
  },
  positional: ['fd'],
  printed: 1,
  foreign: tlsOnly,
});

/** The types that listen. `stdio` and `haproxy` have no parameters. */
export const serverShapes = { tcp, tcp6, ssl, tls, unix, systemd, fd };

/** The shape of an endpoint that listens. */
export function serverShape({ type }: BindableServer): AnyShape {
  return serverShapes[type];
}
