import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { decode } from 'dns-packet';
import type { Packet } from 'dns-packet';

/** A server that does with a datagram whatever it is told to, until the test has ended. */
export async function openNameServer(
  t: TestContext,
  act: (asked: { packet: Packet; socket: Socket; from: RemoteInfo }) => void,
  host = '127.0.0.1',
): Promise<{ host: string; port: number }> {
  const socket = createSocket('udp4').bind(0, host);
  await once(socket, 'listening');
  socket.on('message', (bytes, from) => act({ packet: decode(bytes), socket, from }));
  t.after(() => socket.close());
  return { host, port: socket.address().port };
}
