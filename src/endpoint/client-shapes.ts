/** The types of client endpoints with their parameters. Names, orders and defaults are Twisted's, but for what extras.ts adds. */
import type { Reader } from './arguments.ts';
import { clientExtras, clientTlsExtras, needsTls } from './extras.ts';
import type { DirectClient, SslClient, TlsClient } from './model.ts';
import { nameServers, writeNameServers } from './name-servers.ts';
import { defaulted, required, shapeOf } from './parameter.ts';
import type { Fields } from './parameter.ts';
import { serverNameOf } from './server-name.ts';
import * as values from './values.ts';

const tlsOnly = {
  serverName: needsTls,
  insecure: needsTls,
  alpn: needsTls,
  hostname: needsTls,
  passphrase: needsTls,
  truncation: needsTls,
};

const timeout = defaulted(30, {
  read: values.timeoutSeconds,
  meaning: 'seconds to connect in',
  placeholder: 'SECONDS',
  note: 'to connect in, 30',
});

const bindAddress = defaulted(null, {
  read: values.localAddress,
  isAddress: true,
  meaning: (address) => (address === null ? 'the system chooses the local address' : 'local address'),
  placeholder: 'ADDRESS',
});

const target = {
  host: required({
    read: values.host,
    isAddress: true,
    meaning: (host) =>
      /^[0-9.]+$|:/.test(host) ? 'address to connect to' : 'name to connect to, looked up for each connection',
    placeholder: 'HOST',
  }),
  port: required({ read: values.clientPort, meaning: 'TCP port', placeholder: 'PORT' }),
  timeout,
  bindAddress,
};

/** Who the server must be, and what it is told of that. */
function nameMeaning(endpoint: Fields): string {
  const { checked, sent } = serverNameOf(endpoint as unknown as SslClient | TlsClient);
  const check = endpoint['insecure'] ? 'not checked' : `the certificate must be for ${checked}`;
  return `${check}; ${sent === null ? 'no name is sent' : `${sent} is sent as the server's name`}`;
}

const serverName = {
  ...clientTlsExtras.serverName,
  meaning: (_: string | undefined, endpoint: Fields) => nameMeaning(endpoint),
};

/** The directory of authorities, under the name that a type has for it. */
const authorities = defaulted(null, {
  read: values.path,
  isPath: true,
  meaning: (directory: string | null, { insecure }) => {
    if (insecure) return 'not checked';
    return directory === null
      ? 'signed by an authority that this system trusts'
      : 'signed by an authority of this directory';
  },
  placeholder: 'DIRECTORY',
});

const ownCertificate = defaulted(null, {
  read: values.path,
  isPath: true,
  meaning: (file) => (file === null ? 'no certificate is presented' : 'file of the certificate to present'),
  placeholder: 'FILE',
});

function ownKey(certificate: 'certKey' | 'certificate') {
  return defaulted(null, {
    read: values.path,
    isPath: true,
    meaning: (file: string | null, endpoint) => {
      if (endpoint[certificate] === null) return 'none needed';
      return file === null ? `in the file of ${certificate}` : 'file of its key';
    },
    placeholder: 'FILE',
  });
}

/** To a host and a port. */
export const tcp = shapeOf({
  type: 'tcp',
  meaning: 'TCP',
  usage: 'tcp:HOST:PORT[:timeout=SECONDS][:bindAddress=ADDRESS]',
  parameters: { ...target, ...clientExtras },
  positional: ['host', 'port'],
  printed: 2,
  foreign: tlsOnly,
});

/** The same with TLS, the names of its parameters those of Twisted's ssl. */
export const ssl = shapeOf({
  type: 'ssl',
  meaning: 'TLS over TCP',
  usage: 'ssl:HOST:PORT[:hostname=NAME][:caCertsDir=DIRECTORY][:certKey=FILE][:privateKey=FILE][:timeout=SECONDS]',
  parameters: {
    ...target,
    hostname: defaulted(null, {
      read: values.host,
      isAddress: true,
      meaning: (_, endpoint) => (endpoint['serverName'] === undefined ? nameMeaning(endpoint) : 'serverName says it'),
      placeholder: 'NAME',
    }),
    serverName,
    caCertsDir: authorities,
    insecure: clientTlsExtras.insecure,
    alpn: clientTlsExtras.alpn,
    passphrase: clientTlsExtras.passphrase,
    truncation: clientTlsExtras.truncation,
    certKey: ownCertificate,
    privateKey: ownKey('certKey'),
    ...clientExtras,
  },
  positional: ['host', 'port'],
  printed: 2,
  foreign: { trustRoots: 'ssl calls it caCertsDir', certificate: 'ssl calls it certKey' },
});

/** The same with the names of Twisted's tls, or over another endpoint, which `readNested` reads. */
export function tlsShape(readNested: Reader<DirectClient>) {
  return shapeOf({
    type: 'tls',
    meaning: (_: string, { endpoint }: Fields) => (endpoint === null ? 'TLS over TCP' : 'TLS over what endpoint says'),
    usage: 'tls:HOST:PORT[:trustRoots=DIRECTORY][:certificate=FILE][:privateKey=FILE][:timeout=SECONDS]',
    parameters: {
      ...target,
      serverName: { ...serverName, isTold: true as const },
      trustRoots: authorities,
      insecure: clientTlsExtras.insecure,
      alpn: clientTlsExtras.alpn,
      passphrase: clientTlsExtras.passphrase,
      truncation: clientTlsExtras.truncation,
      certificate: ownCertificate,
      privateKey: ownKey('certificate'),
      endpoint: defaulted(null, {
        read: readNested,
        meaning: (nested: DirectClient | null) =>
          nested === null ? 'connected directly' : 'the way to the server, instead of host and port',
        placeholder: 'ENDPOINT',
      }),
      ...clientExtras,
    },
    positional: ['host', 'port', 'timeout', 'bindAddress', 'certificate', 'privateKey', 'trustRoots', 'endpoint'],
    printed: 2,
    foreign: {
      caCertsDir: 'tls calls it trustRoots',
      certKey: 'tls calls it certificate',
      hostname: 'tls calls it serverName',
    },
  });
}

const { keepalive: _keepalive, userTimeout: _userTimeout, ...unixExtras } = clientExtras;

/** To a path or an abstract name of this machine. */
export const unix = shapeOf({
  type: 'unix',
  meaning: 'Unix socket',
  usage: 'unix:PATH[:timeout=SECONDS][:lockfile=1]',
  parameters: {
    path: required({ read: values.socketPath, isPath: true, meaning: values.socketMeaning, placeholder: 'PATH' }),
    timeout,
    lockfile: defaulted(false, {
      read: values.lockfile,
      write: values.zeroOrOne,
      meaning: (isNeeded) => (isNeeded ? 'only if a live process holds PATH.lock' : 'whether or not it is locked'),
      placeholder: '1',
    }),
    ...unixExtras,
  },
  positional: ['path'],
  printed: 1,
  keywords: ['abstract', 'keepalive', 'userTimeout'],
  aliases: { address: 'path' },
  foreign: tlsOnly,
});

/** To a service that DNS knows the places of. */
export const srv = shapeOf({
  type: 'srv',
  meaning: 'TCP, to the targets that DNS has for a service',
  usage: 'srv:_SERVICE._tcp.DOMAIN[:server=ADDRESS][:timeout=SECONDS][:bindAddress=ADDRESS]',
  parameters: {
    name: required({
      read: values.serviceName,
      meaning: (name) =>
        `name of its SRV records${/^_[^.]+\._[^.]+\../.test(name) ? '' : ' (mostly _SERVICE._tcp.DOMAIN)'}: the lowest priority that can be reached, by weight`,
      placeholder: 'NAME',
    }),
    timeout,
    bindAddress,
    server: defaulted(null, {
      read: nameServers,
      write: writeNameServers,
      meaning: (servers) => (servers === null ? 'the name servers of the system are asked' : 'who is asked'),
      placeholder: 'ADDRESS',
      note: 'the name server to ask',
    }),
    ...clientExtras,
  },
  positional: ['name'],
  printed: 1,
  aliases: { host: 'name' },
  foreign: { ...tlsOnly, port: 'DNS tells the port' },
});
