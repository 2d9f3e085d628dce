/**
 * A peer that closes with bytes unread, or is reset, fails our writes, and a runtime closes a socket at
 * its first failed write, with all that the peer had sent before and that was not read yet: the answer of
 * a server that did not want the rest of the request. So such a failure is taken out of its way.
 */
import { errorCode } from '../../error.ts';
import { ENDINGS } from '../policy.ts';
import type { Leg } from './leg.ts';

type Done = (error?: Error | null) => void;

/** Whether an error of an open connection is how its peer ended it, or our own end of it, which a runtime tells of a write that was under way. */
export function isPeersEnding(error: Error): boolean {
  const code = errorCode(error) ?? '';
  return ENDINGS.includes(code) || code === 'ERR_STREAM_DESTROYED';
}

/**
 * Keep a leg open when the peer takes no more bytes: `failed` is called once, with why, and what is
 * written from then on is dropped. Its bytes are read as before, to their end.
 */
export function catchWriteFailure({ socket, carrier, gate }: Leg, failed: (error: Error) => void): void {
  // With a gate it is the carrier whose writes fail, with the TLS socket none the wiser.
  const sink = gate ? carrier : socket;
  const { _write: write, _writev: writev } = sink;
  let hasFailed = false;
  // A stream has one write under way at most.
  let done: Done | null = null;
  const settle: Done = (error) => {
    const callback = done;
    done = null;
    if (!error || !isPeersEnding(error) || sink.destroyed) return callback?.(error);
    hasFailed = true;
    callback?.();
    failed(error);
  };
  sink._write = (chunk, encoding, callback) => {
    if (hasFailed) return callback();
    done = callback;
    write.call(sink, chunk, encoding, settle);
  };
  if (!writev) return;
  sink._writev = (chunks, callback) => {
    if (hasFailed) return callback();
    done = callback;
    writev.call(sink, chunks, settle);
  };
}
