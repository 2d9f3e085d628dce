/** One connection through grace, from its beginning to its place in the accounts. */
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { seedsOf } from '../../test/engine/soak-streams.ts';
import type { Accounts, Entry, Problem } from './accounts.ts';
import { headOf } from './destination.ts';
import type { Pacer } from './pacer.ts';
import type { Plan } from './plan.ts';
import { proxyHeaderFor } from './proxy-header.ts';
import type { Rule } from './rule.ts';
import { playClient } from './script.ts';
import { Side } from './side.ts';

/** Carry a plan out over a rule, and settle its account. Resolves to whether all was in order. */
export async function connectAndPlay(
  plan: Plan,
  { rule, accounts, pacer, ca }: { rule: Rule; accounts: Accounts; pacer: Pacer; ca: string | undefined },
): Promise<boolean> {
  const entry = accounts.begin(plan, rule.current?.name ?? null);
  const plain = net.connect({ ...rule.address, allowHalfOpen: true, noDelay: true });
  plain.on('error', () => {}); // what is made of it tells of it
  const failed = await once(plain, 'connect').then(
    () => null,
    (error: NodeJS.ErrnoException) => error,
  );
  if (failed) return accounts.settle(entry, { isDone: false, problem: refused(failed) });
  greet(entry, plain);
  const speaksTls = plan.kind === 'tls' || plan.kind === 'tls-through';
  const socket = speaksTls ? tls.connect({ socket: plain, ca, servername: 'localhost' }) : plain;
  if (speaksTls) {
    // Until it is open it has no side that takes its errors.
    const isOpen = await once(socket, 'secureConnect').then(
      () => true,
      () => false,
    );
    socket.on('error', () => {});
    if (!isOpen) return accounts.settle(entry, { isDone: false });
  }
  const { up, down } = seedsOf(plan.id);
  const side = new Side(socket, { sends: up, expects: down });
  entry.client = side;
  socket.write(headOf(plan.id));
  const isDone = await playClient(side, plan, pacer);
  // It may have much to read yet.
  if (entry.server) await entry.served.promise;
  socket.destroy();
  return accounts.settle(entry, { isDone });
}

function refused(error: NodeJS.ErrnoException): Problem {
  // It was open, and was reset before anybody looked.
  if (error.code === 'ECONNRESET') return { what: 'lost', text: 'it was reset as soon as it was open' };
  return { what: 'refused', text: `it was refused: ${error.message}` };
}

/** Say who it is, or know what grace will say of it. */
function greet(entry: Entry, socket: net.Socket): void {
  const { kind, id } = entry.plan;
  if (kind === 'proxy-sent') entry.claims = `${socket.localAddress}:${socket.localPort}`;
  if (kind !== 'proxy-accepted') return;
  entry.claims = `192.0.2.${1 + (id % 250)}:${1024 + (id % 60_000)}`;
  socket.write(proxyHeaderFor(entry.claims));
}
