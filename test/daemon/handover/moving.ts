/** The parts of a daemon that moving connections needs, without the daemon. */
import { Destination } from '../../../src/forward/destination.ts';
import { readRule } from '../../../src/daemon/rules/specs.ts';
import type { moveIn } from '../../../src/daemon/handover/move-in.ts';
import type { Service } from '../../../src/daemon/service.ts';
import type { NativeEngine } from '../../../src/engine/native/engine.ts';
import type { Upstream } from '../../../src/engine/engine.ts';
import type { DestinationView } from '../../../src/forward/table.ts';

const ignore = () => {};
export const silentLog: Service['log'] = {
  trace: ignore,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  fatal: ignore,
} as unknown as Service['log'];

/** A rule to this destination, opened in an engine. */
export function movableTo(engine: NativeEngine, dst: string): DestinationView {
  const { src, dst: target } = readRule({
    src: { typed: 'tcp:1', absolute: 'tcp:1' },
    dst: { typed: dst, absolute: dst },
  });
  return {
    src,
    destination: new Destination(target, engine.openUpstream(target.endpoint)),
    isCurrent: true,
    percent: null,
    listener: null,
    hold: null,
  };
}

type NewService = Parameters<typeof moveIn>[0] & { upstreams: Upstream[] };

/** A new daemon that takes every connection, whatever rule it is of. */
export function newService(engine: NativeEngine): NewService {
  const upstreams: Upstream[] = [];
  return {
    engine,
    log: silentLog,
    upstreams,
    forwarder: {
      adoption: {
        receive({ dst }, _since, adopt) {
          const upstream = engine.openUpstream(dst.endpoint);
          upstreams.push(upstream);
          adopt({ upstream, frontend: null, observer: {}, idleMs: null });
        },
        carry: () => true,
      },
    },
  };
}
