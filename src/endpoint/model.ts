/**
 * Endpoints as data. A *server* endpoint says where to listen, a *client* endpoint where to connect.
 * The shapes are the normal form of Twisted's endpoint strings: every parameter of a type by its
 * name, defaults filled in, `null` for "not given". grace's own parameters are optional properties
 * that are present only when they were given.
 */

import type { ClientExtras, ClientTlsExtras, ServerAddressExtras, ServerExtras, ServerTlsExtras } from './extras.ts';
import type { NameServer } from './name-servers.ts';

export type { ServerExtras } from './extras.ts';

/** `tcp:PORT`, `tcp6:PORT`: plain bytes over TCP. */
export type TcpServer = ServerExtras &
  ServerAddressExtras & {
    type: 'tcp' | 'tcp6';
    /** 0–65535; 0 lets the system choose. */
    port: number;
    /** Address or name to bind; empty is every IPv4 address. */
    interface: string;
    backlog: number;
  };

/** `ssl:PORT`: TLS with one certificate. */
export type SslServer = ServerExtras &
  ServerAddressExtras &
  ServerTlsExtras & {
    type: 'ssl';
    port: number;
    /** PEM files, read as one text: either may hold both parts. */
    privateKey: string;
    certKey: string;
    /** Name of a TLS method of OpenSSL, such as `TLSv1_2_METHOD`; null negotiates. */
    sslmethod: string | null;
    interface: string;
    backlog: number;
    extraCertChain: string | null;
    dhParameters: string | null;
  };

/** `tls:DIR:PORT`: TLS with a directory of certificates, chosen by the name that a client asks for. */
export type TlsServer = ServerExtras &
  ServerAddressExtras &
  ServerTlsExtras & {
    type: 'tls';
    /** Directory, searched with its subdirectories for `.pem` files. */
    path: string;
    port: number;
    backlog: number;
    interface: string;
  };

/** `unix:PATH`: plain bytes over a Unix socket. */
export type UnixServer = ServerExtras & {
  type: 'unix';
  /** Path; a leading NUL means Linux's abstract namespace. */
  address: string;
  /** Permissions, octal digits without prefix. */
  mode: string;
  backlog: number;
  lockfile: boolean;
};

/** `systemd:…`: a socket that an init system passed. */
export type SystemdServer = ServerExtras & {
  type: 'systemd';
  domain: 'INET' | 'INET6' | 'UNIX' | null;
  /** Exactly one of index (from 0) and name is given. */
  index: number | null;
  name: string | null;
};

/** A listening socket that this process inherited under its descriptor's number. */
export type FdServer = ServerExtras & { type: 'fd'; fd: number };

/** `stdio:`: standard input and output; understood, and refused where something is to listen. */
export type StdioServer = { type: 'stdio' };

/** Any server endpoint whose clients open with a PROXY protocol header. */
export type HaproxyServer = { type: 'haproxy'; endpoint: BindableServer };

/** What can be listened on. */
export type BindableServer = TcpServer | SslServer | TlsServer | UnixServer | SystemdServer | FdServer;
/** SRC: where clients come from. */
export type ServerEndpoint = BindableServer | StdioServer | HaproxyServer;

/** `tcp:HOST:PORT`: plain bytes over TCP. */
export type TcpClient = ClientExtras & {
  type: 'tcp';
  host: string;
  /** 1–65535. */
  port: number;
  /** Seconds for the attempt. */
  timeout: number;
  bindAddress: string | null;
};

/** `ssl:HOST:PORT`: TLS, the authorities in a directory of their own where `caCertsDir` names one. */
export type SslClient = ClientExtras &
  ClientTlsExtras & {
    type: 'ssl';
    host: string;
    port: number;
    timeout: number;
    bindAddress: string | null;
    /** Name to check and to send; null means the host. */
    hostname: string | null;
    certKey: string | null;
    privateKey: string | null;
    caCertsDir: string | null;
  };

/** `tls:HOST:PORT`: TLS with Twisted's names of parameters, perhaps over another endpoint. */
export type TlsClient = ClientExtras &
  ClientTlsExtras & {
    type: 'tls';
    host: string;
    port: number;
    timeout: number;
    bindAddress: string | null;
    certificate: string | null;
    privateKey: string | null;
    trustRoots: string | null;
    /** Connect through this one; host and port are then for the check only. */
    endpoint: DirectClient | null;
  };

/** `unix:PATH`: plain bytes over a Unix socket; `timeout` in seconds. */
export type UnixClient = ClientExtras & { type: 'unix'; path: string; timeout: number; lockfile: boolean };

/** `srv:NAME`: plain bytes over TCP, to the targets that DNS has for a service (RFC 2782). */
export type SrvClient = ClientExtras & {
  type: 'srv';
  /** Whole, such as `_pg._tcp.db.example`. */
  name: string;
  /** Seconds for the attempt. */
  timeout: number;
  bindAddress: string | null;
  /** Who is asked, one after the other; null means the servers of the system. */
  server: readonly NameServer[] | null;
};

/** Which clients of a `sni:` endpoint go to one of its destinations. */
export type SniRoute = {
  /** In lower case, without a dot at its end; `*.` before it stands for one label, `*` alone for any name. */
  name: string;
  /** A protocol (ALPN) that the client must offer too; null: any or none. */
  alpn: string | null;
  endpoint: DirectClient;
};

/** `sni:NAME=DST:…`: the bytes of TLS as they are, to a destination by the name that the client asks for. */
export type SniClient = {
  type: 'sni';
  /** One at least. */
  routes: readonly SniRoute[];
  /** For whoever is of no route, also without TLS; null: such a client is refused. */
  default: DirectClient | null;
};

/** A single place to connect to. */
export type DirectClient = TcpClient | SslClient | TlsClient | UnixClient | SrvClient;
/** DST: where connections go. */
export type ClientEndpoint = DirectClient | SniClient;
