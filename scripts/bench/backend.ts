/** What stands behind the forwarders. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { backlog } from './peers.ts';
import { answers, freePort } from './ports.ts';
import { findProgram, start } from './program.ts';
import type { Running } from './program.ts';
import { parameters } from './tls.ts';
import type { ClientTls } from './tls.ts';

const here = dirname(fileURLToPath(import.meta.url));

/**
 * http: an answer of a few bytes at /, 64 MiB at /large, and at /upload when all that was sent has been read, with `headers`
 * after a PROXY header; https: at / what was agreed on, and nothing is resumed; https-resumed: the same with session tickets; echo: what it was sent, any number of connections.
 */
export type BackendKind = 'http' | 'http-headers' | 'https' | 'https-resumed' | 'iperf3' | 'echo';

export type Backend = {
  port: number;
  /** Start it anew on the same port: a test that was cut off leaves iperf3 waiting. */
  renew(): Promise<void>;
  stop(): Promise<void>;
};

export const backendProgram: Readonly<Record<BackendKind, string>> = {
  http: 'nginx',
  'http-headers': 'nginx',
  https: 'nginx',
  'https-resumed': 'nginx',
  iperf3: 'iperf3',
  echo: process.execPath,
};

export async function startBackend(
  kind: BackendKind,
  { dir, cpus, tls = null, signal }: { dir: string; cpus: string | null; tls?: ClientTls | null; signal: AbortSignal },
): Promise<Backend> {
  mkdirSync(dir, { recursive: true });
  const port = await freePort();
  const args = argumentsOf(kind, { dir, port, tls });
  const begin = async (): Promise<Running> => {
    const running = start(findProgram(backendProgram[kind])!, args, { output: join(dir, 'output'), cpus });
    try {
      await answers(port, { ended: running.ended, signal });
      return running;
    } catch (error) {
      const words = running.lastWords();
      await running.stop();
      throw new Error(`the ${kind} backend does not answer; it ${words}`, { cause: error });
    }
  };
  let running = await begin();
  return {
    port,
    async renew() {
      await running.stop();
      running = await begin();
    },
    stop: () => running.stop(),
  };
}

function argumentsOf(
  kind: BackendKind,
  { dir, port, tls }: { dir: string; port: number; tls: ClientTls | null },
): string[] {
  const isHttps = kind === 'https' || kind === 'https-resumed';
  switch (kind) {
    case 'echo':
      return [join(here, 'idle-server.ts'), `${port}`];
    case 'iperf3':
      return ['-s', '-B', '127.0.0.1', '-p', `${port}`];
    case 'http':
    case 'http-headers':
    case 'https':
    case 'https-resumed':
      writeFileSync(join(dir, 'large'), Buffer.alloc(64 * 2 ** 20, 'grace '));
      writeFileSync(
        join(dir, 'nginx.conf'),
        `
worker_processes 1; daemon off; pid ${dir}/pid; error_log stderr;
events { worker_connections 20000; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 1h; sendfile on;
  server {
    listen 127.0.0.1:${port} backlog=${backlog}${{ http: '', 'http-headers': ' proxy_protocol', https: ' ssl', 'https-resumed': ' ssl' }[kind]};
    ${isHttps ? httpsOf(tls!) : ''} ${kind === 'https' ? 'ssl_session_tickets off;' : ''}
    location = /large { alias ${dir}/large; }
    location = /upload {
      client_max_body_size 0; client_body_buffer_size 16m;
      proxy_pass http://127.0.0.1:${port}/; proxy_method GET; proxy_pass_request_body off; proxy_set_header Content-Length "";
    }
    location / { return 200 "${isHttps ? '$ssl_protocol $ssl_cipher $ssl_curve $ssl_session_reused' : 'hello from behind'}\\n"; }
  }
}
`,
      );
      return ['-p', dir, '-c', join(dir, 'nginx.conf'), '-e', 'stderr'];
  }
}

function httpsOf({ pem }: ClientTls): string {
  const { version, cipher, group } = parameters;
  return `ssl_certificate ${pem}; ssl_certificate_key ${pem}; ssl_protocols ${version}; ssl_ecdh_curve ${group}; ssl_conf_command Ciphersuites ${cipher};`;
}
