/** Servers of other make, which say themselves that a session was taken up again. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { Socket } from 'node:net';
import { ownLoopback } from '../../../e2e/grace.ts';
import { freePort } from '../../../e2e/listening-socket.ts';
import { makeDirectory, startServer } from '../../../programs/program.ts';
import { openNativeTls } from '../../native-engine.ts';
import { Rig } from '../../rig.ts';
import { pemFiles, sslTo } from '../../tls-peers.ts';

const isNative = process.platform === 'linux' && !('Deno' in globalThis);
const isThere = (command: string, ...args: string[]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
const pem = pemFiles();
const versions = ['TLSv1.3', 'TLSv1.2'] as const;
type Version = (typeof versions)[number];

/** Starts a server that answers requests by HTTP; `isReused` tells by an answer whether its connection was resumed. */
type Server = {
  name: string;
  check: [string, ...string[]];
  start: (t: TestContext, version: Version) => Promise<number>;
  isReused: (answer: string) => boolean;
};

const openssl = (name: string, extra: readonly string[]): Server => ({
  name,
  check: ['openssl', 'version'],
  async start(t, version) {
    const port = await freePort();
    const own = ['-accept', `${ownLoopback}:${port}`, version === 'TLSv1.3' ? '-tls1_3' : '-tls1_2', '-www', ...extra];
    const files = ['-key', pem().key, '-cert', pem().cert, '-cert_chain', pem().intermediate];
    await startServer(t, 'openssl', ['s_server', ...own, ...files], { host: ownLoopback, port });
    return port;
  },
  isReused: (answer) => /^Reused, TLSv1/m.test(answer),
});

const servers: readonly Server[] = [
  openssl('openssl s_server with tickets', []),
  openssl('openssl s_server with sessions of its own', ['-no_ticket']),
  {
    name: 'nginx',
    check: ['nginx', '-v'],
    async start(t, version) {
      const [port, dir] = [await freePort(), makeDirectory(t)];
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${dir};`);
      writeFileSync(
        join(dir, 'config'),
        `${process.getuid?.() === 0 ? 'user root;' : ''}
pid ${dir}/pid; error_log ${dir}/error; worker_processes 1; events {}
http {
  access_log off; ${temporary.join(' ')}
  server {
    listen ${ownLoopback}:${port} ssl; ssl_protocols ${version};
    ssl_certificate ${pem().fullChain}; ssl_certificate_key ${pem().key};
    return 200 "reused: $ssl_session_reused";
  }
}
`,
      );
      await startServer(t, 'nginx', ['-c', join(dir, 'config'), '-g', 'daemon off;'], { host: ownLoopback, port });
      return port;
    },
    isReused: (answer) => answer.endsWith('reused: r'),
  },
  {
    name: 'HAProxy',
    check: ['haproxy', '-v'],
    async start(t, version) {
      const [port, dir] = [await freePort(), makeDirectory(t)];
      const bind = `bind ${ownLoopback}:${port} ssl crt ${dir}/pem ssl-min-ver ${version} ssl-max-ver ${version}`;
      const answer = 'http-request return status 200 content-type text/plain lf-string "resumed: %[ssl_fc_is_resumed]"';
      writeFileSync(join(dir, 'pem'), spawnSync('cat', [pem().fullChain, pem().key]).stdout, { mode: 0o600 });
      const times = ['client', 'server', 'connect'].map((name) => `  timeout ${name} 100s\n`).join('');
      writeFileSync(
        join(dir, 'config'),
        `global\n  nbthread 1\ndefaults\n  mode http\n${times}frontend tls\n  ${bind}\n  ${answer}\n`,
      );
      await startServer(t, 'haproxy', ['-db', '-f', join(dir, 'config')], { host: ownLoopback, port });
      return port;
    },
    isReused: (answer) => answer.endsWith('resumed: 1'),
  },
];

async function ask(connect: () => Promise<Socket>): Promise<string> {
  const client = await connect();
  client.write('GET / HTTP/1.0\r\n\r\n');
  let answer = '';
  client.setEncoding('latin1').on('data', (text: string) => (answer += text));
  await once(client, 'end');
  client.destroy();
  return answer;
}

for (const { name, check, start, isReused } of servers)
  for (const version of versions)
    test(
      `${name}, ${version}: later connections go on with the session of the first`,
      { timeout: 60_000, skip: !isNative || (!isThere(...check) && `${check[0]} is not installed`) },
      async (t) => {
        await using rig = new Rig(openNativeTls);
        const port = await start(t, version);
        const { connect } = await rig.forward({
          to: sslTo(port, pem(), { host: ownLoopback, hostname: 'www.example.com' }),
        });
        const answers: string[] = [];
        for (let asked = 0; asked < 4; asked++) answers.push(await ask(connect));
        assert.deepEqual(answers.map(isReused), [false, true, true, true], answers.join('\n'));
      },
    );

for (const version of versions)
  test(
    `GnuTLS, ${version}: later connections go on with the session of the first`,
    { timeout: 60_000, skip: !isNative || (!isThere('gnutls-serv', '--version') && 'gnutls-serv is not installed') },
    async (t) => {
      await using rig = new Rig(openNativeTls);
      const port = await freePort();
      const priority = `NORMAL:-VERS-ALL:+VERS-${version.replace('v', '')}`;
      const files = [`--x509keyfile=${pem().key}`, `--x509certfile=${pem().fullChain}`];
      const args = ['--http', `--port=${port}`, `--priority=${priority}`, ...files];
      const server = await startServer(t, 'gnutls-serv', args, { host: ownLoopback, port });
      let said = '';
      server.stdout!.on('data', (text: string) => (said += text));
      const { connect } = await rig.forward({
        to: sslTo(port, pem(), { host: ownLoopback, hostname: 'www.example.com' }),
      });
      for (let asked = 0; asked < 4; asked++) assert.match(await ask(connect), /GnuTLS/i);
      server.kill();
      await once(server, 'close');
      assert.equal(said.split('This is a resumed session').length - 1, 3, said);
    },
  );
