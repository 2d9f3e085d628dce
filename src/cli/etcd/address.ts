/** Where rules are in etcd: `etcd://HOST:PORT,…/KEY?PARAMETERS`, read and checked. */
import { resolve } from 'node:path';
import { quoted } from '../../endpoint/error.ts';
import { GraceError } from '../../error.ts';

/** The key of the rules in an etcd, and how that is reached. */
export type EtcdAddress = {
  /** As it was typed: nothing in it is secret. */
  text: string;
  /** Its members, to be tried in turn; never empty. */
  members: readonly { host: string; port: number }[];
  /** What the key may be called, the likelier first: with the slash that it has in the address, and without. */
  keys: readonly [string, string];
  tls: EtcdTls | null;
  /** Who asks, where etcd wants users; `password` is `env:NAME` or `file:PATH`. */
  user: { name: string; password: string } | null;
};

/** Absolute paths of PEM files. */
export type EtcdTls = {
  cacert?: string | undefined;
  cert?: string | undefined;
  key?: string | undefined;
  /** The name that the server's certificate must be for; default: the host. */
  serverName?: string | undefined;
  insecure: boolean;
};

/** Where etcd answers its clients. */
const defaultPort = 2379;

const form = 'etcd://HOST[:2379][,HOST[:PORT]…]/KEY, etcds:// with TLS';
const parameters = ['cacert', 'cert', 'key', 'serverName', 'insecure', 'user', 'password'] as const;
const ofTls: readonly string[] = ['cacert', 'cert', 'key', 'serverName', 'insecure'];

/** Whether the FILE of `apply` is no file but an address of this kind. */
export function isEtcdAddress(text: string): boolean {
  return /^etcds?:\/\//i.test(text);
}

/** Relative paths are relative to `cwd`. Throws GraceError (exit code 2). */
export function readEtcdAddress(text: string, cwd: string): EtcdAddress {
  const wrong = (why: string, hint = `its form: ${form}`) =>
    new GraceError(`cannot read ${quoted(withoutSecrets(text))}: ${why}`, { hint, code: 'ERR_GRACE_USAGE' });
  const parts = /^(etcds?):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?$/i.exec(text);
  if (!parts) throw wrong('there is a "#" in it', 'write %23 for it');
  const [, scheme = '', hosts = '', path = '', query = ''] = parts;
  if (hosts.includes('@')) throw wrong('a user does not stand before the host', '?user=NAME&password=file:PATH');
  const key = decoded(path);
  if (key === null) throw wrong('a "%" is not followed by two hexadecimal digits of UTF-8', 'write %25 for it');
  if (key === '' || key === '/') throw wrong('KEY is missing');
  if (key.endsWith('/')) throw wrong('KEY ends with "/"', 'name the key itself, as etcdctl put does');
  const values = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (!parameters.some((each) => each === name))
      throw wrong(`there is no parameter ${quoted(name)}`, `there are ${parameters.join(', ')}`);
    if (values.has(name)) throw wrong(`${name} is given twice`);
    if (value === '') throw wrong(`${name} has no value`);
    values.set(name, value);
  }
  const path_ = (name: string) => {
    const value = values.get(name);
    return value === undefined ? undefined : resolve(cwd, value);
  };
  if (values.has('insecure') && values.get('insecure') !== 'yes') throw wrong('insecure can only be "yes"');
  if (values.has('cert') !== values.has('key')) throw wrong('a client certificate needs both cert and key');
  const [name, password] = [values.get('user'), values.get('password')];
  if ((name === undefined) !== (password === undefined)) throw wrong('user and password go together');
  if (password !== undefined && !/^(env|file):./s.test(password))
    throw wrong('password says where it is', 'password=env:NAME or password=file:PATH');
  const isTls = scheme.toLowerCase() === 'etcds' || ofTls.some((each) => values.has(each));
  return {
    text,
    members: hosts.split(',').map((member) => readMember(member, wrong)),
    keys: [key, key.slice(1)],
    tls: isTls
      ? {
          cacert: path_('cacert'),
          cert: path_('cert'),
          key: path_('key'),
          serverName: values.get('serverName'),
          insecure: values.has('insecure'),
        }
      : null,
    user: name === undefined || password === undefined ? null : { name, password: absolute(password, cwd) },
  };
}

/** Who has put a password where none may be has it printed nowhere. */
function withoutSecrets(text: string): string {
  return text.replace(/\/\/[^/?#]*@/, '//…@').replace(/([?&]password=)(?!env:|file:)[^&#]*/gi, '$1…');
}

function readMember(text: string, wrong: (why: string) => GraceError): { host: string; port: number } {
  const [, v6, name, digits] = /^(?:\[([0-9a-f:.]+(?:%[^\]]+)?)\]|([^:[\]\s]+))(?::([0-9]+))?$/i.exec(text) ?? [];
  const host = v6 ?? name;
  const port = digits === undefined ? defaultPort : Number(digits);
  if (host === undefined || port < 1 || port > 65_535)
    throw wrong(text === '' ? 'HOST is missing' : `${quoted(text)} is not HOST or HOST:PORT`);
  return { host, port };
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function absolute(password: string, cwd: string): string {
  return password.startsWith('file:') ? `file:${resolve(cwd, password.slice(5))}` : password;
}
