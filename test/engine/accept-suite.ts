import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { Socket } from 'node:net';
import { proxyHeader } from '../../src/engine/proxy-header.ts';
import { hashOfHost, newSecret, shareKey, shareThreshold } from '../../src/engine/share.ts';
import { connectTo, endingOf, openBackend, openEcho, readAll, readBytes } from './peers.ts';
import { addressOf, Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';

export function acceptSuite(openEngine: OpenEngine): void {
  test(
    'after a switch new clients go to the new upstream, and open connections stay',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using one = await openBackend();
      await using two = await openEcho();
      const { connect, frontend, upstream } = await rig.forward({ to: to(one) });
      const old = await connect();
      const peer = await one.next();
      const next = rig.upstream(to(two));
      frontend.route(next);
      const fresh = await connect();
      fresh.write('new');
      assert.equal(await readBytes(fresh, 3), 'new');
      assert.deepEqual([upstream.stats().connections, next.stats().connections], [1, 1]);
      old.end('old');
      assert.equal(await readAll(peer), 'old');
      peer.end();
      old.resume();
      await upstream.drained();
      assert.equal(next.stats().connections, 1);
    },
  );

  test(
    'a share of the clients, by their addresses, goes to another upstream',
    { timeout: 60_000, skip: process.platform !== 'linux' && 'only Linux has all of 127.0.0.0/8' },
    async () => {
      await using rig = new Rig(openEngine);
      await using echo = await openEcho();
      const { connect, frontend, upstream } = await rig.forward({ to: to(echo) });
      const other = rig.upstream(to(echo));
      const secret = newSecret();
      const hosts = Array.from({ length: 40 }, (_, index) => `127.9.7.${index + 1}`);
      for (const percent of [30, 60]) {
        const before = other.stats().connections;
        frontend.route(upstream, { upstream: other, percent, secret });
        for (const localAddress of hosts) {
          const client = await connect({ localAddress });
          client.write('1');
          await readBytes(client, 1);
        }
        const expected = hosts.filter((host) => hashOfHost(host, shareKey(secret)) < shareThreshold(percent));
        assert.equal(other.stats().connections - before, expected.length);
      }
      const atEnd = other.stats().connections;
      frontend.route(upstream);
      for (const localAddress of hosts) await connect({ localAddress });
      assert.equal(other.stats().connections, atEnd);
    },
  );

  for (const on of ['tcp', 'unix'] as const) {
    test(
      `stopping leaves the ${on} queue to the next frontend, and connections go on`,
      { timeout: 60_000 },
      async () => {
        await using rig = new Rig(openEngine);
        await using echo = await openEcho();
        const first = await rig.forward({ to: to(echo), on });
        const open = await first.connect();
        open.write('1');
        assert.equal(await readBytes(open, 1), '1');
        await first.frontend.stop();
        await first.frontend.stop();
        const queued = await first.connect();
        queued.write('2');
        if ('path' in first.address) assert.ok(existsSync(first.address.path));
        open.write('3');
        assert.equal(await readBytes(open, 1), '3');
        assert.equal(first.upstream.stats().connections, 1);
        await rig.forward({ to: to(echo), on: first.listener });
        assert.equal(await readBytes(queued, 1), '2');
      },
    );
  }

  test('no client is lost while frontends of one listener come and go', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const listener = await rig.listen('tcp');
    const upstream = rig.upstream(to(echo));
    const open = () =>
      rig.engine.openFrontend({
        listener,
        endpoint: { type: 'tcp', port: 0, interface: '', backlog: 50 },
        upstream,
        observer: {},
      });
    let frontend = open();
    let isOver = false;
    let changes = 0;
    const ask = async () => {
      // On a busy machine all of them may have been served before the second change.
      for (let count = 0; count < 25 || changes <= 10; count++) {
        const client = await connectTo(addressOf(listener));
        client.end('hello');
        assert.equal(await readAll(client), 'hello');
      }
    };
    const clients = Promise.all(Array.from({ length: 16 }, ask)).finally(() => (isOver = true));
    for (; !isOver; changes++) {
      await new Promise((resolve) => setImmediate(resolve));
      // Half of the times the next one accepts already.
      const next = changes % 2 === 0 ? open() : null;
      await frontend.stop();
      frontend = next ?? open();
    }
    await clients;
    await frontend.stop();
    await upstream.drained();
    listener.close();
  });

  test('beyond maxconn clients wait in the queue, and are served when there is room', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend), from: { maxconn: 2 } });
    const clients: Socket[] = [];
    for (let count = 0; count < 5; count++) {
      const client = await connect();
      client.write(`${count}`);
      clients.push(client);
    }
    const served: Socket[] = [];
    for (let count = 0; count < 5; count++) {
      const peer = await backend.next();
      served.push(peer);
      assert.equal(await readBytes(peer, 1), `${count}`);
      assert.ok(upstream.stats().connections <= 2);
      assert.ok(backend.accepted <= count + 2);
      if (count < 1) continue;
      // One of the two leaves.
      clients[count - 1]?.destroy();
      served[count - 1]?.end();
    }
    await rig.endedConnections(4);
    assert.equal(upstream.stats().connections, 1);
  });

  test('stdio is refused', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    const listener = await rig.listen('tcp');
    const upstream = rig.upstream(to(addressOf(listener)));
    assert.throws(() => rig.engine.openFrontend({ listener, endpoint: { type: 'stdio' }, upstream, observer: {} }), {
      name: 'GraceError',
      message: /stdio/,
    });
    listener.close();
  });

  for (const version of ['v1', 'v2'] as const) {
    test(
      `a client of a source with proxy=accept is whom its header of ${version} tells of, and bytes come after it`,
      { timeout: 60_000 },
      async () => {
        await using rig = new Rig(openEngine);
        await using backend = await openBackend();
        const { connect, upstream } = await rig.forward({
          to: to(backend, { proxy: 'v1' }),
          from: { proxy: 'accept' },
        });
        const ends = { client: { host: '192.0.2.7', port: 4711 }, accepted: { host: '198.51.100.1', port: 443 } };
        const header = Buffer.from(proxyHeader(version, ends));
        for (const cut of [0, 1, 5, header.length - 1, header.length]) {
          const client = await connect();
          client.setNoDelay(true);
          if (cut > 0) client.write(header.subarray(0, cut));
          if (cut > 0) await new Promise((resolve) => setImmediate(resolve));
          client.write(Buffer.concat([header.subarray(cut), Buffer.from('first bytes')]));
          const peer = await backend.next();
          const expected = 'PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nfirst bytes';
          assert.equal(await readBytes(peer, expected.length), expected);
          client.end();
          assert.equal(await readAll(peer), '');
          peer.end('last');
          assert.equal(await readAll(client), 'last');
        }
        await upstream.drained();
        const ended = await rig.endedConnections(5);
        assert.deepEqual([...new Set(ended.map(({ peer }) => peer))], ['192.0.2.7:4711']);
        assert.equal(upstream.stats().bytesIn, 55);
      },
    );
  }

  test(
    'a client without a PROXY header, or from where none is taken, is reset and told of, and reaches nobody',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend();
      const { connect } = await rig.forward({ to: to(backend), from: { proxy: 'accept' } });
      const speaker = await connect();
      speaker.write('GET / HTTP/1.1\r\n');
      assert.equal(await endingOf(speaker), 'reset');
      await rig.endedConnections(1); // threads tell of theirs each for itself
      const silent = await connect();
      assert.equal(await endingOf(silent), 'reset'); // after 3 s
      await rig.endedConnections(2);
      const untrusted = await rig.forward({
        to: to(backend),
        from: { proxy: 'accept', proxyFrom: ['10.0.0.0/8', '2001:db8::/32'] },
      });
      const stranger = await untrusted.connect();
      stranger.write('PROXY UNKNOWN\r\n');
      assert.equal(await endingOf(stranger), 'reset');
      const trusted = await rig.forward({
        to: to(backend),
        from: { proxy: 'accept', proxyFrom: ['10.0.0.0/8', '127.0.0.0/8'] },
      });
      const friend = await trusted.connect();
      friend.write('PROXY UNKNOWN\r\nhello');
      assert.equal(await readBytes(await backend.next(), 5), 'hello');
      assert.equal(backend.accepted, 1);
      const messages = (await rig.endedConnections(3)).map(({ stage, error }) => `${stage}: ${error?.message}`);
      assert.deepEqual(messages, [
        'handshake: no PROXY header: the first bytes are not those of one',
        'handshake: no PROXY header came within 3 s',
        'handshake: a client at 127.0.0.1 may not send a PROXY header (proxyFrom)',
      ]);
    },
  );

  test(
    'with no descriptors left clients wait in the queue, and are served when there are some again',
    { timeout: 60_000, skip: process.platform !== 'linux' },
    async () => {
      const engine = openEngine();
      await engine.close();
      await using echo = await openEcho();
      const script = new URL('fixtures/few-descriptors.ts', import.meta.url).pathname;
      // Deno rewrites commands that have its own path in them, but not one that comes from a variable.
      const run =
        'Deno' in globalThis ? '"$RUNTIME" run -A --no-check' : '"$RUNTIME" --disable-warning=ExperimentalWarning';
      const child = spawn('sh', ['-c', `ulimit -n 64; exec ${run} "$0" "$@"`, script, engine.name, `${echo.port}`], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { ...process.env, RUNTIME: process.execPath },
      });
      const exited = once(child, 'exit');
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const line = async () =>
        JSON.parse(String((await lines.next()).value)) as { port?: number; paused?: string; connections?: number };
      const { port = 0 } = await line();
      const clients: Socket[] = [];
      for (let count = 0; count < 60; count++) {
        const client = await connectTo({ host: '127.0.0.1', port });
        client.write('x');
        clients.push(client);
      }
      assert.match((await line()).paused ?? '', /EMFILE/);
      // In the order in which they came, each makes room for one that waits.
      let served = 0;
      for (const client of clients) {
        const isServed = await readBytes(client, 1).then(
          () => true,
          () => false,
        );
        if (isServed) served++;
        client.destroy();
      }
      // Deno accepts all that wait at once, however many there are; some of those it has to turn away.
      if ('Deno' in globalThis) assert.ok(served > 0);
      else assert.equal(served, clients.length);
      const late = await connectTo({ host: '127.0.0.1', port });
      late.write('y');
      assert.equal(await readBytes(late, 1), 'y');
      late.destroy();
      child.stdin.end();
      for (let connections: number | undefined = -1; connections !== 0;) ({ connections } = await line());
      assert.deepEqual(await exited, [0, null]);
    },
  );
}
