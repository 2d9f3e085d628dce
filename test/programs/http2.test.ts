import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ownLoopback } from '../e2e/grace.ts';
import { freePort } from '../e2e/listening-socket.ts';
import type { PemFiles } from '../endpoint/pem.ts';
import { crash, disturb, meanwhile, startForward } from './forward.ts';
import { makeDirectory, missing, openSession, run, secondLoopback, startServer } from './program.ts';
import { pemFiles } from '../e2e/pem-files.ts';

const skip = missing(['nginx -v', 'nginx-light'], ['curl --version | grep -q HTTP2', 'curl with HTTP/2']);
const options = { timeout: 240_000, skip };

type News = { port: number; /** Sends a line to everybody who listens. */ tell(line: string): void };

/** What comes as it happens: server-sent events. */
async function startNews(t: TestContext): Promise<News> {
  const listeners = new Set<http.ServerResponse>();
  const server = http.createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('begin\n');
    listeners.add(response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    tell: (line) => {
      for (const response of listeners) response.write(`${line}\n`);
    },
  };
}

type Nginx = {
  /** With TLS, and with HTTP/2 in the clear. */ secure: [string, string];
  clear: [string, string];
  file: string;
};

/** nginx with HTTP/2 at two addresses. */
async function startNginx(t: TestContext, pem: PemFiles, newsPort: number): Promise<Nginx> {
  const dir = makeDirectory(t);
  const [secure, clear] = [await freePort(), await freePort()];
  mkdirSync(join(dir, 'html'));
  const file = join(dir, 'html/file');
  writeFileSync(file, Buffer.alloc(3_000_000, 'some of a file\n'));
  const listen = [ownLoopback, secondLoopback].map(
    (host) => `listen ${host}:${secure} ssl http2; listen ${host}:${clear} http2;`,
  );
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir};`);
  writeFileSync(
    join(dir, 'config'),
    `${process.getuid?.() === 0 ? 'user root;' : ''}
pid ${dir}/pid;
error_log ${dir}/error;
worker_processes 1;
events {}
http {
  access_log off;
  ${temporary.join(' ')}
  server {
    ${listen.join('\n    ')}
    ssl_certificate ${pem.fullChain};
    ssl_certificate_key ${pem.key};
    root ${dir}/html;
    location = /hello { return 200 "hello by $server_protocol\\n"; }
    location = /news { proxy_pass http://127.0.0.1:${newsPort}; proxy_buffering off; }
  }
}
`,
  );
  const args = ['-c', join(dir, 'config'), '-g', 'daemon off;'];
  await startServer(t, 'nginx', args, { host: ownLoopback, port: clear });
  const ways = (port: number): [string, string] => [`tcp:${ownLoopback}:${port}`, `tcp:${secondLoopback}:${port}`];
  return { secure: ways(secure), clear: ways(clear), file };
}

for (const [how, isEnded] of [
  ['passed through to nginx', false],
  ['that grace ends', true],
] as const)
  test(`curl with HTTP/2 and TLS ${how}: nothing is noticed; a crash refuses nobody`, options, async (t) => {
    const pem = pemFiles(t);
    const news = await startNews(t);
    const nginx = await startNginx(t, pem, news.port);
    const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}:alpn=h2`;
    const forward = await startForward(t, isEnded ? { ways: nginx.clear, src } : { ways: nginx.secure });
    const url = `https://127.0.0.1:${forward.port}`;
    const common = ['-sSf', '--http2', '--noproxy', '*', '--cacert', pem.root];

    const listener = openSession(t, 'curl', [...common, '-N', `${url}/news`]);
    assert.equal(await listener.line(), 'begin');
    let count = 0;
    const session = async () => {
      news.tell(`event ${++count}`);
      assert.equal(await listener.line(), `event ${count}`);
    };
    // It says more than it is to when it fails: why it could not connect.
    const newcomer = async () =>
      assert.equal(await run('curl', ['-v', ...common, `${url}/hello`]), 'hello by HTTP/2.0\n');
    // Twenty streams of one connection, and two more connections.
    const [dir, file] = [makeDirectory(t), readFileSync(nginx.file)];
    const outputs = Array.from({ length: 20 }, (_, index) => join(dir, `${index}`));
    const work = async () => {
      const streams = outputs.flatMap((output) => ['-o', output, `${url}/file`]);
      await Promise.all([
        run('curl', [...common, '-Z', '--parallel-max', '20', ...streams]),
        ...[1, 2].map(() => newcomer()),
      ]);
      for (const output of outputs) assert.ok(readFileSync(output).equals(file));
    };
    const rounds = await meanwhile(work, disturb(forward, { session, newcomer }));
    t.diagnostic(`${rounds} rounds of 20 streams with 60 MB, ${count} events of one stream`);
    await crash(forward, newcomer);
    // It has moved at each restart, and was the last process's.
    assert.match(await listener.ended, /curl: \((16|18|52|55|56|92)\)/);
  });
