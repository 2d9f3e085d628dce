/** A browser comes through TLS of the native engine, with HTTP/2 and without, and over a restart. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import { chromium } from 'playwright-core';
import { until } from '../until.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const executablePath = '/usr/bin/chromium';
const skip =
  runtime === 'deno'
    ? 'TLS is native with Node alone'
    : !existsSync(executablePath) && 'there is no /usr/bin/chromium (Debian: chromium)';

for (const protocol of ['http/1.1', 'h2'] as const)
  test(
    `Chromium loads and sends over ${protocol}, and goes on over a restart`,
    { timeout: 240_000, skip },
    async (t) => {
      const grace = makeGrace(t);
      const pem = pemFiles(t);
      let connections = 0;
      const page = '<!doctype html><title>a page</title><p id="said">hello</p>';
      const big = Buffer.alloc(3_000_000, 'x');
      const answer = (
        request: http.IncomingMessage | http2.Http2ServerRequest,
        response: {
          writeHead(code: number, headers: Record<string, string>): unknown;
          end(body: string | Buffer): unknown;
        },
      ) => {
        let size = 0;
        request.on('data', (data: Buffer) => (size += data.length));
        request.on('end', () => {
          response.writeHead(200, { 'content-type': 'text/html' });
          if (request.method === 'POST') response.end(`${size}`);
          else response.end(request.url === '/big' ? big : page);
        });
      };
      const server =
        protocol === 'h2'
          ? http2.createServer((request, response) => answer(request, response))
          : http.createServer((request, response) => answer(request, response));
      server.on('connection', () => connections++);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => server.close());
      const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}:alpn=${protocol}`;
      await grace.ok('start', src, `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`);
      const port = await grace.port(src);
      const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
      t.after(() => browser.close());
      const tab = await browser.newPage({ ignoreHTTPSErrors: true });
      tab.setDefaultTimeout(60_000);
      assert.equal((await tab.goto(`https://127.0.0.1:${port}/`))?.status(), 200);
      assert.equal(await tab.locator('#said').innerText(), 'hello');
      const down = () => tab.evaluate(async () => (await (await fetch('/big')).text()).length);
      const up = () =>
        tab.evaluate(async () => await (await fetch('/', { method: 'POST', body: new Uint8Array(2_000_000) })).text());
      const protocolOf = () =>
        tab.evaluate(
          () =>
            (performance.getEntriesByType('navigation')[0] as unknown as { nextHopProtocol: string }).nextHopProtocol,
        );
      assert.equal(await protocolOf(), protocol);
      assert.deepEqual(await Promise.all([down(), up(), down()]), [big.length, '2000000', big.length]);
      const [row] = await grace.connections();
      assert.equal(row?.tls?.version, 'TLSv1.3');
      const before = connections;
      const { movedTls } = JSON.parse(await grace.ok('restart', '--json')) as { movedTls: number };
      assert.ok(movedTls >= 1);
      assert.deepEqual([await up(), await down()], ['2000000', big.length]);
      if (protocol === 'h2') assert.equal(connections, before, 'the connection is the one from before');
      // It never says that it ends.
      await browser.close();
      await until('its connections are over', async () => (await grace.ls())[0]?.connections === 0);
      // But that it did not trust the certificate at first.
      const troubles = grace
        .log()
        .split('\n')
        .filter((line) => /WARN|ERROR/.test(line) && !/certificate unknown/.test(line));
      assert.deepEqual(troubles, []);
    },
  );
