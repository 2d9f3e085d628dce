import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import { GraceError, serve } from '../../src/http/index.ts';
import { GraceError as OfNet, adoptFd, Net, openListener, serveOn } from '../../src/net/index.ts';

const options = { timeout: 20_000 };
const address = '127.0.0.1:0';

/** What a call fails with, thrown or rejected. */
async function failure(call: () => unknown): Promise<GraceError> {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof GraceError, `${error}`);
    return error;
  }
  assert.fail('it did not fail');
}

test('the library exports its error, the same from both entrances', () => {
  assert.equal(GraceError, OfNet);
});

test('arguments of serve that cannot be are said by name, and nothing is opened', options, async () => {
  const server = (): http.Server => http.createServer();
  const listening = server().listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const own = { net: new Net({ env: {} }) };
  const same = server();
  const cases: [unknown[], RegExp][] = [
    [[], /^serve: expected a server of node:http, https, http2, net or tls, not undefined$/],
    [[null], /not null$/],
    [['8080'], /not "8080"$/],
    [[{}, { address }], /not an object$/],
    [[() => {}, { address }], /not a function$/],
    [[[]], /an array of \{ server, address \}, not an empty array$/],
    [[[server()]], /^serve: servers\[0\]: expected \{ server, address \}, not a Server$/],
    [[[undefined]], /servers\[0\]: .* not undefined/],
    [[[{ server: server() }]], /^serve: servers\[0\]\.address: expected an address such as ":8080", not undefined$/],
    [[[{ address }]], /servers\[0\]: expected \{ server, address \}/],
    [[[{ server: null, address }]], /servers\[0\]\.server: .* not null/],
    [
      [
        [
          { server: same, address },
          { server: same, address },
        ],
      ],
      /servers\[1\] is there twice/,
    ],
    [[{ server: server() }], /^serve\.address: .* not undefined/],
    [[listening, { address }], /^serve: the server listens already$/],
    [[server(), null], /^serve: options: expected an object, not null$/],
    [[server(), 8080], /options: expected an object, not 8080/],
    [[server(), { address: null }], /address: expected a string, a port/],
    [[server(), { address: true }], /address: .* not true/],
    [[server(), { address: {} }], /address\.port: expected a number, not undefined/],
    [[server(), { address: { port: '8080' } }], /address\.port: expected a number, not "8080"/],
    [[server(), { address: { port: 80, host: 1 } }], /address\.host: expected a string, not 1/],
    [[server(), { address: { path: 5 } }], /address\.path/],
    [[server(), { address: { path: 's', mode: '660' } }], /address\.mode/],
    [[server(), { address, stopTimeout: '5s' }], /options\.stopTimeout: expected a number of milliseconds, not "5s"/],
    [[server(), { address, killTimeout: NaN }], /killTimeout/],
    [[server(), { address, idleGrace: -1 }], /idleGrace/],
    [[server(), { address, startTimeout: null }], /startTimeout/],
    [[server(), { address, log: true }], /options\.log: expected a function, not true/],
    [[server(), { address, endConnection: {} }], /endConnection/],
    [[server(), { address, signal: 'SIGTERM' }], /options\.signal: expected an AbortSignal/],
    [[server(), { address, net: {} }], /options\.net: expected a Net/],
  ];
  for (const [args, message] of cases) {
    const withNet =
      args.length === 2 && typeof args[1] === 'object' && args[1] !== null ? [args[0], { ...own, ...args[1] }] : args;
    const error = await failure(() => Reflect.apply(serve, undefined, withNet));
    assert.match(error.message, message);
    assert.equal(error.code, 'ERR_GRACE_ARGUMENT', error.message);
  }
  assert.match(
    (await failure(() => Reflect.apply(serve, undefined, [() => {}]))).hint ?? '',
    /http\.createServer\(application\)/,
  );
  listening.close();
});

test(
  'names that there are not are refused with the one that was meant, and so is a second call beside the first',
  options,
  async () => {
    const server = http.createServer();
    for (const [call, message, hint] of [
      [
        () => serve(server, { address, stopTimout: 5 } as object),
        'serve: options: there is no "stopTimout"',
        'did you mean "stopTimeout"?',
      ],
      [
        () => serve(server, { adress: address } as object),
        'serve: options: there is no "adress"',
        'did you mean "address"?',
      ],
      [
        () => serve(server, { address: { hostname: '127.0.0.1', port: 0 } as never }),
        'address: there is no "hostname"',
        'did you mean "host"?',
      ],
      [
        () => serve(server, { address: { host: '127.0.0.1', port: 0, mode: 1 } as never }),
        'address: there is no "mode"',
        'did you mean "host"?',
      ],
      [
        () => serve([{ server, address }], { address }),
        'serve: options.address is for a server without an address',
        'each of these has its own',
      ],
      [
        () => serve(server, { address: '99999' }),
        'cannot parse address "99999": expected a port, HOST:PORT, :PORT or the path of a Unix socket',
        'a port is 0 to 65535',
      ],
    ] as const) {
      const error = await failure(call);
      assert.equal(error.message, message);
      if (!message.includes('mode')) assert.equal(error.hint, hint);
    }
    const end = new AbortController();
    const first = serve(server, { address, signal: end.signal });
    const second = await failure(() => serve(http.createServer(), { address }));
    assert.match(second.message, /^serve: it is at work in this process already$/);
    assert.match(second.hint ?? '', /all servers in one call/);
    end.abort();
    await first;
    const ended = AbortSignal.abort();
    await serve(http.createServer(), { address, signal: ended }); // and when it has ended, another may follow
  },
);

test('arguments of the listeners too', options, async () => {
  const grace = new Net({ env: {} });
  const cases: [() => unknown, RegExp][] = [
    [() => Reflect.construct(Net, [null]), /^new Net: expected an object, not null$/],
    [() => Reflect.construct(Net, [{ env: null }]), /new Net: env/],
    [() => Reflect.apply(grace.listen, grace, []), /^Net\.listen: .* not undefined$/],
    [
      () => Reflect.apply(grace.listen, grace, [{ kind: 'udp', backlog: 1 }]),
      /kind: expected "tcp" or "unix", not "udp"/,
    ],
    [() => Reflect.apply(grace.listenTCP, grace, []), /^Net\.listenTCP: expected an object, not undefined$/],
    [() => Reflect.apply(grace.listenTCP, grace, [8080]), /not 8080$/],
    [() => Reflect.apply(grace.listenTCP, grace, [{ port: '80' }]), /port: expected a number, not "80"/],
    [() => Reflect.apply(grace.listenTCP, grace, [{ port: 80, host: null }]), /host: expected a string, not null/],
    [() => Reflect.apply(grace.listenTCP, grace, [{ port: 0, backlog: 'many' }]), /backlog/],
    [() => Reflect.apply(grace.listenTCP, grace, [{ port: 0, host: '127.0.0.1', name: 5 }]), /name of a listener/],
    [() => Reflect.apply(grace.listenUnix, grace, []), /^Net\.listenUnix: /],
    [() => Reflect.apply(grace.listenUnix, grace, [{}]), /path: expected a string, not undefined/],
    [() => Reflect.apply(grace.listenUnix, grace, [{ path: '/x', mode: 'rw' }]), /mode/],
    [() => Reflect.apply(grace.startProcess, grace, [null]), /^Net\.startProcess: expected an object, not null$/],
    [() => Reflect.apply(grace.close, grace, []), /^Net\.close: /],
    [
      () => Reflect.apply(grace.close, grace, [{ removePaths: 'all' }]),
      /removePaths: expected "service", "process" or "none", not "all"/,
    ],
    [() => Reflect.apply(openListener, undefined, []), /^openListener: /],
    [() => Reflect.apply(adoptFd, undefined, ['3']), /^adoptFd: expected the number of a descriptor, not "3"$/],
    [() => Reflect.apply(serveOn, undefined, [net.createServer()]), /^serveOn: listener: /],
    [() => Reflect.apply(serveOn, undefined, []), /^serveOn: expected a server/],
  ];
  for (const [call, message] of cases) {
    const error = await failure(call);
    assert.match(error.message, message);
    assert.equal(error.code, 'ERR_GRACE_ARGUMENT', error.message);
  }
});

test("each failure has a code: the system's where it is the system that refuses", options, async () => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as net.AddressInfo;
  const start = (where: string | { port: number; host: string }) => () =>
    serve(http.createServer(), { address: where, net: new Net({ env: {} }) });
  const cases: [() => unknown, string][] = [
    [start(`127.0.0.1:${port}`), 'EADDRINUSE'],
    [start('192.0.2.1:80'), 'EADDRNOTAVAIL'],
    [start('name.invalid:80'), 'ENOTFOUND'],
    [start('/nonexistent/x'), 'ENOENT'],
    [start('/dev/null'), 'EADDRINUSE'],
    [start(`/tmp/${'x'.repeat(120)}`), 'ERR_GRACE_ADDRESS'],
    [start('nonsense'), 'ERR_GRACE_ADDRESS'],
    [() => serve(http.createServer(), { net: new Net({ env: {} }) }), 'ERR_GRACE_ADDRESS'],
    [() => new Net({ env: { LISTEN_FDS: 'x' } }), 'ERR_GRACE_INHERITED'],
    [() => adoptFd(9999), 'EBADF'],
    [() => new Net({ env: {} }).startProcess({ file: '/nonexistent/program' }), 'ENOENT'],
  ];
  for (const [call, code] of cases) {
    const error = await failure(call);
    // Without a resolver that answers, the name is away for now.
    if (code === 'ENOTFOUND') assert.match(error.code ?? '', /^(ENOTFOUND|EAI_AGAIN)$/);
    else assert.equal(error.code, code, error.message);
  }
  taken.close();
});

test('times longer than a timer can be do not end at once', options, async () => {
  for (const stopTimeout of [Infinity, 2 ** 40]) {
    const server = http.createServer();
    const controller = new AbortController();
    const listening = Promise.withResolvers<number>();
    const ended = serve(server, {
      address,
      stopTimeout,
      signal: controller.signal,
      net: new Net({ env: {} }),
      onListening: ({ listeners: [listener] }) =>
        listening.resolve(listener?.address.family === 'inet' ? listener.address.port : 0),
    });
    const client = http.get({ host: '127.0.0.1', port: await listening.promise, agent: false });
    const [, response] = await new Promise<[http.IncomingMessage, http.ServerResponse]>((resolve) =>
      server.once('request', (...both) => resolve(both)),
    );
    controller.abort();
    await new Promise((resolve) => setTimeout(resolve, 20)); // the time in which a timer of 1 ms would have fired
    response.end('whole');
    const [answer] = await new Promise<[http.IncomingMessage]>((resolve, reject) =>
      client.once('response', (message) => resolve([message])).once('error', reject),
    );
    assert.equal((await answer.setEncoding('utf8').toArray()).join(''), 'whole');
    await ended;
  }
});
