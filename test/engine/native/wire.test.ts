/** The relay with codecs between it and its sockets, and with bytes that go first. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { allocateCounters, Counters } from '../../../src/engine/native/counters.ts';
import {
  BLOCKED,
  CODED,
  ConnectionTable,
  KIND_CLIENT,
  KIND_SERVER,
} from '../../../src/engine/native/connection-table.ts';
import { TCP_EVENTS } from '../../../src/engine/native/epoll-events.ts';
import { openKernel } from '../../../src/engine/native/kernel.ts';
import type { Kernel } from '../../../src/engine/native/kernel.ts';
import { Relay } from '../../../src/engine/native/relay.ts';
import type { EndOptions, Thread } from '../../../src/engine/native/thread.ts';
import type { Codec, Encoded } from '../../../src/engine/native/codec.ts';
import { openCrypto } from '../../../src/engine/native/tls/library.ts';
import { C } from '../../../src/sys/constants.ts';
import { encodeSockaddr } from '../../../src/sys/sockaddr.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' };
const HEADER = 4;

/** A record: its length, and so many bytes, each turned about. One of no bytes is the end. */
function seal(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const record = new Uint8Array(new ArrayBuffer(HEADER + bytes.length));
  new DataView(record.buffer).setUint32(0, bytes.length);
  for (let at = 0; at < bytes.length; at++) record[HEADER + at] = bytes[at]! ^ 0x55;
  return record;
}

/** The bytes in records, and what is behind the last whole one. */
function open(records: Buffer): { bytes: Buffer; rest: Buffer; hasEnded: boolean } {
  const parts: Buffer[] = [];
  let at = 0;
  while (records.length >= at + HEADER) {
    const end = at + HEADER + records.readUInt32BE(at);
    if (records.length < end) break;
    if (end === at + HEADER) return { bytes: Buffer.concat(parts), rest: records.subarray(end), hasEnded: true };
    parts.push(Buffer.from(records.subarray(at + HEADER, end).map((byte) => byte ^ 0x55)));
    at = end;
  }
  return { bytes: Buffer.concat(parts), rest: records.subarray(at), hasEnded: false };
}

class Records implements Codec {
  readonly #kernel: Kernel;
  readonly #fd: number;
  readonly #farewell: Uint8Array;
  readonly #memory = openCrypto();
  /** What has an address somewhere. */
  readonly #kept: unknown[] = [];
  #sealed: Buffer = Buffer.alloc(0);
  #plain: Buffer = Buffer.alloc(0);
  #hasEnded = false;
  isClosed = false;
  readonly failure = null;
  readonly hasReadFin = true;
  readonly tls = null;

  constructor(kernel: Kernel, fd: number, farewell: Uint8Array = seal(new Uint8Array(0))) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#farewell = farewell;
  }

  receive(): number {
    const { input } = this.#kernel;
    while (this.#plain.length === 0) {
      if (this.#hasEnded) return 0;
      const length = this.#kernel.receive(this.#fd);
      if (length <= 0) return length;
      const { bytes, rest, hasEnded } = open(Buffer.concat([this.#sealed, input.subarray(0, length)]));
      this.#sealed = Buffer.from(rest);
      this.#plain = bytes;
      this.#hasEnded = hasEnded;
    }
    const length = Math.min(this.#plain.length, input.length);
    input.set(this.#plain.subarray(0, length));
    this.#plain = this.#plain.subarray(length);
    return length;
  }

  encode(length: number): Encoded {
    return this.#encoded(seal(this.#kernel.input.subarray(0, length)));
  }

  #encoded(bytes: Uint8Array): Encoded {
    const own = this.#memory.pin(bytes.length);
    own.bytes.set(bytes);
    this.#kept.push(own);
    return { ...own, length: bytes.length };
  }

  snapshot(): null {
    return null;
  }

  farewell(): Encoded {
    return this.#encoded(this.#farewell);
  }

  close(): void {
    this.isClosed = true;
  }
}

type Side = { fd: number; peer: Socket };

/** A relay between two sockets, whose other ends are here, and what turns its loop. */
class Bench implements AsyncDisposable {
  readonly kernel = openKernel();
  readonly table = new ConnectionTable(new SharedArrayBuffer(64 * 4096));
  readonly relay: Relay;
  readonly ended: EndOptions[] = [];
  readonly #thread: Thread;
  readonly #server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  readonly #peers: Socket[] = [];
  #timer: NodeJS.Immediate | null = null;
  client: Side = null!;
  server: Side = null!;

  constructor() {
    const counters = new Counters(allocateCounters(1), 0);
    this.#thread = {
      number: 0,
      kernel: this.kernel,
      table: this.table,
      upstreams: new Map([[0, { counters }]]),
      now: 0,
      end: (client: number, end: EndOptions) => this.#end(client, end),
    } as unknown as Thread;
    this.relay = new Relay(this.#thread);
  }

  async open(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.client = await this.#side(KIND_CLIENT);
    this.server = await this.#side(KIND_SERVER);
    this.table.assign(this.client.fd, 0, 0);
    this.table.pair(this.client.fd, this.server.fd);
  }

  async #side(kind: number): Promise<Side> {
    const { port } = this.#server.address() as AddressInfo;
    const fd = this.kernel.socket(C.AF_INET);
    this.kernel.connect(fd, this.kernel.address(encodeSockaddr({ family: 'inet', host: '127.0.0.1', port })));
    const [peer] = (await once(this.#server, 'connection')) as [Socket];
    this.#peers.push(peer);
    this.kernel.watch(fd, TCP_EVENTS, this.table.open(fd, 0, kind));
    return { fd, peer };
  }

  /** Begin to relay, and go on until the connection is over. */
  begin(): void {
    this.relay.begin(this.client.fd);
    const turn = () => {
      this.#thread.now = performance.now();
      const count = this.kernel.wait(0);
      for (let index = 0; index < count; index++) {
        const fd = this.kernel.eventFd(index);
        if (this.table.generation(fd) === this.kernel.eventGeneration(index))
          this.relay.handle(fd, this.kernel.eventMask(index));
      }
      this.relay.runQueue();
      this.#timer = this.ended.length > 0 ? null : setImmediate(turn);
    };
    turn();
  }

  #end(client: number, end: EndOptions): void {
    this.ended.push(end);
    for (const fd of [client, this.table.other(client)]) {
      this.relay.forget(fd);
      this.table.close(fd);
      if (end.reset) this.kernel.closeWithReset(fd);
      else this.kernel.close(fd);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#timer !== null) clearImmediate(this.#timer);
    for (const peer of this.#peers) peer.destroy();
    this.relay.close();
    this.kernel.closeEpoll();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

function readToEnd(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    socket
      .on('data', (chunk: Buffer) => parts.push(chunk))
      .once('end', () => resolve(Buffer.concat(parts)))
      .once('error', reject);
    socket.resume();
  });
}

/** Sealed in records of different lengths, and the end. */
function sealAll(bytes: Buffer): Buffer {
  const records: Uint8Array[] = [];
  for (let at = 0, length = 1; at < bytes.length; at += length, length = Math.min(50_000, length * 3))
    records.push(seal(bytes.subarray(at, at + length)));
  return Buffer.concat([...records, seal(new Uint8Array(0))]);
}

for (const coded of ['neither side', 'the server', 'the client', 'both sides'] as const) {
  test(`every byte and both ends pass with a codec on ${coded}`, options, async () => {
    await using bench = new Bench();
    await bench.open();
    const { relay, kernel, client, server } = bench;
    const codecs: Records[] = [];
    const [clientIsCoded, serverIsCoded] = [
      coded === 'the client' || coded === 'both sides',
      coded === 'the server' || coded === 'both sides',
    ];
    for (const { fd } of [...(clientIsCoded ? [client] : []), ...(serverIsCoded ? [server] : [])]) {
      const codec = new Records(kernel, fd);
      codecs.push(codec);
      relay.wire.attach(fd, codec);
    }
    const [request, answer] = [randomBytes(3_000_000), randomBytes(3_000_000)];
    bench.begin();
    client.peer.end(clientIsCoded ? sealAll(request) : request);
    const gotRequest = await readToEnd(server.peer);
    assert.equal(bench.ended.length, 0);
    server.peer.end(serverIsCoded ? sealAll(answer) : answer);
    const gotAnswer = await readToEnd(client.peer);
    const plain = (bytes: Buffer, isCoded: boolean) => {
      if (!isCoded) return bytes;
      const { bytes: opened, hasEnded, rest } = open(bytes);
      assert.ok(hasEnded && rest.length === 0);
      return opened;
    };
    assert.ok(plain(gotRequest, serverIsCoded).equals(request));
    assert.ok(plain(gotAnswer, clientIsCoded).equals(answer));
    assert.deepEqual(bench.ended, [{ stage: 'relay', why: 'finished', reason: null, reset: false }]);
    assert.ok(codecs.every(({ isClosed }) => isClosed));
  });
}

test('a prelude is sent before all other bytes, also one that is not taken at once', options, async () => {
  await using bench = new Bench();
  await bench.open();
  const { relay, client, server } = bench;
  const prelude = randomBytes(8_000_000);
  relay.setPrelude(server.fd, new Uint8Array(prelude));
  bench.begin();
  client.peer.end('after');
  server.peer.end('answer');
  assert.equal((await readToEnd(client.peer)).toString(), 'answer');
  const got = await readToEnd(server.peer);
  assert.ok(got.subarray(0, prelude.length).equals(prelude));
  assert.equal(got.subarray(prelude.length).toString(), 'after');
  assert.deepEqual(bench.ended, [{ stage: 'relay', why: 'finished', reason: null, reset: false }]);
});

test(
  'a connection is over when what both sides are told before the end has been taken, not when both have been read',
  options,
  async () => {
    await using bench = new Bench();
    await bench.open();
    const { relay, kernel, table, client, server } = bench;
    const farewell = new Uint8Array(new ArrayBuffer(8_000_000)).fill(7);
    relay.wire.attach(server.fd, new Records(kernel, server.fd, farewell));
    assert.ok(table.has(server.fd, CODED));
    bench.begin();
    client.peer.end('bye');
    server.peer.write(sealAll(Buffer.from('bye, too')));
    assert.equal((await readToEnd(client.peer)).toString(), 'bye, too');
    assert.ok(table.has(server.fd, BLOCKED));
    assert.equal(bench.ended.length, 0);
    const got = await readToEnd(server.peer);
    assert.ok(got.equals(Buffer.concat([seal(Buffer.from('bye')), farewell])));
    assert.deepEqual(bench.ended, [{ stage: 'relay', why: 'finished', reason: null, reset: false }]);
  },
);
