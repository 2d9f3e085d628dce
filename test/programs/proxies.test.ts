/** HAProxy and nginx before grace and behind it, with the PROXY protocol on both ways: everybody is told who the client is. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ownLoopback } from '../e2e/grace.ts';
import { freePort } from '../e2e/listening-socket.ts';
import { crash, disturb, meanwhile, startForward } from './forward.ts';
import { makeDirectory, missing, secondLoopback, startServer } from './program.ts';
import { pemFiles } from '../e2e/pem-files.ts';

const streamModule = '/usr/lib/nginx/modules/ngx_stream_module.so';
const skip = missing(
  ['haproxy -v', 'haproxy'],
  ['nginx -v', 'nginx-light'],
  [`test -e ${streamModule}`, 'libnginx-mod-stream'],
);

/** What runs before grace, and sends its clients' addresses there; its port. */
type Before = (t: TestContext, target: number) => Promise<number>;
/** What runs behind grace, and answers with the address that it was told; both ways to it. */
type Behind = (t: TestContext) => Promise<[string, string]>;

async function startHaproxy(t: TestContext, port: number, sections: string): Promise<void> {
  const file = join(makeDirectory(t), 'config');
  const times = ['client', 'server', 'connect'].map((name) => `  timeout ${name} 100s\n`).join('');
  writeFileSync(file, `global\n  nbthread 1\ndefaults\n  retries 0\n${times}${sections}`);
  await startServer(t, 'haproxy', ['-db', '-f', file], { host: ownLoopback, port });
}

async function startNginx(t: TestContext, port: number, sections: (dir: string) => string): Promise<void> {
  const dir = makeDirectory(t);
  const [file, error] = [join(dir, 'config'), join(dir, 'error')];
  const head = `${process.getuid?.() === 0 ? 'user root;' : ''}\npid ${dir}/pid;\nerror_log ${error};\nworker_processes 1;\n`;
  writeFileSync(file, `${head}${sections(dir)}`);
  await startServer(t, 'nginx', ['-c', file, '-g', 'daemon off;'], { host: ownLoopback, port });
}

const haproxyBefore: Before = async (t, target) => {
  const port = await freePort();
  const server = `server grace 127.0.0.1:${target} send-proxy-v2`;
  await startHaproxy(t, port, `listen before\n  mode tcp\n  bind ${ownLoopback}:${port}\n  ${server}\n`);
  return port;
};

const nginxBefore: Before = async (t, target) => {
  const port = await freePort();
  await startNginx(
    t,
    port,
    () => `load_module ${streamModule};
events {}
stream { server { listen ${ownLoopback}:${port}; proxy_pass 127.0.0.1:${target}; proxy_protocol on; } }
`,
  );
  return port;
};

const haproxyBehind: Behind = async (t) => {
  const port = await freePort();
  const binds = [ownLoopback, secondLoopback].map((host) => `  bind ${host}:${port} accept-proxy\n`).join('');
  await startHaproxy(
    t,
    port,
    `frontend behind\n  mode http\n${binds}  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]"\n`,
  );
  return [`tcp:${ownLoopback}:${port}`, `tcp:${secondLoopback}:${port}`];
};

const nginxBehind: Behind = async (t) => {
  const port = await freePort();
  await startNginx(t, port, (dir) => {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir};`);
    const listen = [ownLoopback, secondLoopback].map((host) => `listen ${host}:${port} proxy_protocol;`);
    return `events {}
http {
  access_log off; keepalive_requests 100000; ${temporary.join(' ')}
  server { ${listen.join(' ')} return 200 "$proxy_protocol_addr:$proxy_protocol_port"; }
}
`;
  });
  return [`tcp:${ownLoopback}:${port}`, `tcp:${secondLoopback}:${port}`];
};

const chains: readonly { name: string; before: Before; behind: Behind; version: 'v1' | 'v2'; isSecure: boolean }[] = [
  {
    name: 'HAProxy (v2), grace, nginx (v1)',
    before: haproxyBefore,
    behind: nginxBehind,
    version: 'v1',
    isSecure: false,
  },
  {
    name: 'nginx (v1), grace that ends TLS, HAProxy (v2)',
    before: nginxBefore,
    behind: haproxyBehind,
    version: 'v2',
    isSecure: true,
  },
];

for (const { name, before, behind, version, isSecure } of chains)
  test(
    `${name}: the client is known, and notices nothing; a crash refuses nobody`,
    { timeout: 240_000, skip },
    async (t) => {
      const pem = pemFiles(t);
      const ca = readFileSync(pem.root);
      const plain = 'interface=127.0.0.1:proxy=accept:proxyFrom=127.0.0.0/8';
      const src = isSecure ? `ssl:0:${plain}:privateKey=${pem.key}:certKey=${pem.fullChain}` : `tcp:0:${plain}`;
      const ways = (await behind(t)).map((way) => `${way}:proxy=${version}`) as [string, string];
      const forward = await startForward(t, { ways, src });
      const port = await before(t, forward.port);

      /** Ask; the answer has to be where the client is. Returns its port. */
      const ask = async (agent: http.Agent, localAddress: string) => {
        const where = { host: ownLoopback, port, agent, localAddress };
        const request = isSecure ? https.get({ ...where, ca, servername: 'www.example.com' }) : http.get(where);
        const [response] = (await once(request, 'response')) as [http.IncomingMessage];
        const { localPort } = response.socket;
        let answer = '';
        for await (const text of response.setEncoding('utf8')) answer += text;
        assert.equal(answer, `${localAddress}:${localPort}`);
        return localPort;
      };
      const { Agent } = isSecure ? https : http;
      const kept = new Agent({ keepAlive: true, maxSockets: 1 });
      t.after(() => kept.destroy());
      let count = 0;
      const newcomer = async () => {
        const agent = new Agent();
        await ask(agent, count++ % 2 === 0 ? ownLoopback : secondLoopback);
        agent.destroy();
      };
      let sessionPort: number | undefined;
      const session = async () => {
        const localPort = await ask(kept, secondLoopback);
        assert.equal(localPort, (sessionPort ??= localPort));
      };
      await meanwhile(() => Promise.all([1, 2, 3, 4].map(() => newcomer())), disturb(forward, { session, newcomer }));
      t.diagnostic(`${count} connections, each told of with its own address`);
      // The session has moved at each restart, and ends with the daemon that is killed.
      await crash(forward, newcomer);
    },
  );
