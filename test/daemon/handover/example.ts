import type { Handover } from '../../../src/daemon/handover/messages.ts';

export const text = (endpoint: string): { typed: string; absolute: string } => ({
  typed: endpoint,
  absolute: endpoint,
});

/** What a predecessor of this version may hand over. */
export const whole: Handover = {
  format: 1,
  version: '1.2.3',
  pid: 7,
  startedAt: '2026-01-02T03:04:05.678Z',
  uptimeMs: 60_000,
  generation: 3,
  rules: [
    {
      src: { ...text('tcp:9000'), name: 'web' },
      dst: text('unix:/run/a'),
      listener: 1,
      bytesIn: 10,
      bytesOut: 20,
      since: '2026-01-02T03:04:06.000Z',
    },
    { src: text('tcp:9001'), dst: text('tcp:9'), listener: null, bytesIn: 0, bytesOut: 0, since: '' },
  ],
  sockets: [{ listener: 0, fd: 5, index: 2, name: 'web' }],
  unread: [{ src: text('quic:1'), dst: text('quic:2'), port: 8 }],
  move: 1,
};
