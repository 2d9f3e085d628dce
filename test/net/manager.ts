import { closeFd } from '../../src/sys/descriptor.ts';
import { receiveMessage } from '../../src/sys/message.ts';
import { bindSocket, openSocket } from '../../src/sys/socket.ts';

export type Manager = Disposable & {
  /** For NOTIFY_SOCKET. */
  readonly address: string;
  /** What has come since the last call. With `keep` the caller closes the descriptors. */
  receive(options?: { keep?: boolean }): { text: string; fds: number[] }[];
  messages(): string[];
};

/** The service manager's end of sd_notify. */
export function makeManager(address: string): Manager {
  const fd = openSocket('unix', 'datagram');
  bindSocket(fd, { family: 'unix', path: address.startsWith('@') ? `\0${address.slice(1)}` : address });
  const kept: number[] = [];
  const receive: Manager['receive'] = ({ keep = false } = {}) => {
    const received: { text: string; fds: number[] }[] = [];
    for (
      let message = receiveMessage(fd, { size: 4096, maxFds: 253 });
      message !== null;
      message = receiveMessage(fd, { size: 4096, maxFds: 253 })
    ) {
      received.push({ text: new TextDecoder().decode(message.data), fds: message.fds });
      if (!keep) kept.push(...message.fds);
    }
    return received;
  };
  return {
    address,
    receive,
    messages: () => receive().map(({ text }) => text),
    [Symbol.dispose]() {
      [fd, ...kept].forEach(closeFd);
    },
  };
}
