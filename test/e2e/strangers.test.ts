/** What strangers send is shown, and gives no orders to a terminal, whoever prints it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { makeCertificate } from '../endpoint/pem.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';

/** Clear the screen in two ways, end the line, write backwards, be rubbed out. */
const orders = '\u001b[2J\u009b2J\r\u202e\u2028\u007f';
const isOrder = /[^\P{Cc}\n]|[\u2028\u2029\p{Bidi_Control}]/u;

/** The bytes of a ClientHello with another server name of the same length. */
function helloFor(name: Buffer): Buffer {
  const extension = Buffer.concat([
    u16(0),
    u16(name.length + 5),
    u16(name.length + 3),
    Buffer.from([0]),
    u16(name.length),
    name,
  ]);
  const versions = Buffer.from([0, 43, 0, 3, 2, 3, 4]);
  const extensions = Buffer.concat([extension, versions]);
  const body = Buffer.concat([
    u16(0x0303),
    Buffer.alloc(32, 7),
    Buffer.from([0]),
    u16(2),
    u16(0x1301),
    Buffer.from([1, 0]),
    u16(extensions.length),
    extensions,
  ]);
  const message = Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
  return Buffer.concat([Buffer.from([22, 3, 1]), u16(message.length), message]);
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

for (const format of ['text', 'json']) {
  test(
    `server names, PROXY headers, requests and rules with control characters reach no terminal and no log as such (${format})`,
    { timeout: 120_000 },
    async (t) => {
      using temp = makeTempDir();
      const grace = makeGrace(t);
      const backend = await startBackend(t, 'one');
      const [key, cert, access] = [temp.file('a.key'), temp.file('a.crt'), temp.file('access')];
      makeCertificate(temp.path, { name: 'a', subject: 'a', extensions: [] });
      const daemon = grace.spawn(
        'daemon',
        '--log-format',
        format,
        '--access-log',
        access,
        '--access-log-format',
        format,
        '--admin',
        `unix:${grace.dir}-admin`,
      );
      await until('it serves', () => grace.log().includes('serving'));
      const at = 'interface=127.0.0.1';
      const [secure, proxied, odd] = [
        `ssl:0:${at}:privateKey=${key}:certKey=${cert}`,
        `tcp:0:${at}:proxy=accept`,
        `unix:${temp.file(`odd${orders.replace('\u2028', '')}`)}`,
      ];
      for (const src of [secure, proxied, odd]) await grace.ok('start', src, `unix:${temp.file(`none${orders}`)}`);
      await grace.ok('start', `tcp:0:${at}`, backend.endpoint);

      const send = async (where: { port: number; host: string } | { path: string }, bytes: string | Buffer) => {
        const socket = connect(where as { path: string });
        socket.on('error', () => {});
        socket.resume().end(bytes);
        await new Promise((resolve) => socket.once('close', resolve)); // reset, more often than not
      };
      const to = async (src: string) => ({ host: '127.0.0.1', port: await grace.port(src) });
      await send(await to(secure), helloFor(Buffer.from(`a${orders}b`)));
      await send(await to(secure), `GET /${orders} HTTP/1.1\r\n\r\n`);
      await send(await to(proxied), `PROXY TCP4 ${orders} 1.2.3.4 1 2\r\n`);
      await send(await to(proxied), 'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello');
      await send({ path: temp.file(`odd${orders.replace('\u2028', '')}`) }, 'hello');
      await send({ path: `${grace.dir}-admin` }, `GET /${orders} HTTP/1.1\r\nHost: ${orders}\r\n\r\n`);
      await grace.run('start', odd, `tcp:127.0.0.1:1:bindAddress=${orders}`);
      await grace.run('switch', odd, `unix:/nowhere/${orders}`);
      await grace.run('start', '--name', `n${orders}`, 'tcp:0', 'tcp:1');
      await until('all have been written', () => readFileSync(access, 'utf8').split('\n').length > 4);

      const shown: [string, string][] = [
        ['log', grace.log()],
        ['access log', readFileSync(access, 'utf8')],
        ['console', daemon.outcome().stdout + daemon.outcome().stderr],
      ];
      const commands = [
        ['ls'],
        ['ls', '--json'],
        ['ls', '--long'],
        ['ls', '--connections'],
        ['status'],
        ['status', '--json'],
        ['metrics'],
        ['logs'],
        ['export'],
        ['endpoint', 'client', `unix:${orders}`],
        ['endpoint', 'client', `unix:${orders}`, '--json'],
        ['start', `nonsense${orders}`, `x${orders}`],
        ['start', '--json', `nonsense${orders}`, `x${orders}`],
        [`command${orders}`],
        ['ls', `--option${orders}`],
        ['stop', odd],
        ['stop', `tcp:1:interface=${orders}`],
      ];
      // What commands print does not depend on the form of the log.
      for (const command of format === 'text' ? commands : [['logs']]) {
        const { stdout, stderr } = await grace.run(...command);
        shown.push([`grace ${command.join(' ')}`, stdout + stderr]);
      }
      assert.deepEqual(
        shown
          .filter(([, text]) => isOrder.test(text))
          .map(([what, text]) => [what, isOrder.exec(text)?.[0], text.slice(0, 3000)]),
        [],
      );
      if (format === 'json')
        for (const text of [grace.log(), readFileSync(access, 'utf8')])
          for (const line of text.trimEnd().split('\n')) assert.equal(typeof JSON.parse(line), 'object', line);
      assert.match(grace.log() + readFileSync(access, 'utf8'), /\\u\{?1b|\\u001b/, 'what was sent is told');
    },
  );
}
