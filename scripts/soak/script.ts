/** How a plan is carried out, by the client and by the server. */
import type { Pacer } from './pacer.ts';
import type { Flow, Plan, Turns } from './plan.ts';
import type { Side } from './side.ts';

/** What one who ends last still sends when the run hurries. */
const hurriedBytes = 1000;

/** Carry the client's part out. Resolves, when the server has ended too, to whether all of it was done. */
export async function playClient(side: Side, plan: Plan, pacer: Pacer): Promise<boolean> {
  const isDone =
    plan.script === 'turns' ? await askInTurns(side, plan, pacer) : await flow(side, plan, { pacer, role: 'client' });
  side.end();
  await side.over;
  return isDone;
}

/** Carry the server's part out. Resolves when the client has ended too. */
export async function playServer(side: Side, plan: Plan, pacer: Pacer): Promise<void> {
  if (plan.script === 'turns') {
    for (let turn = 1; (await side.receiveTo(turn * plan.up)) && (await side.sendTo(turn * plan.down)); turn++);
    await side.over;
  } else {
    await flow(side, plan, { pacer, role: 'server' });
  }
  side.end();
  await side.over;
}

async function askInTurns(side: Side, { turns, up, down, pauseMs }: Turns, pacer: Pacer): Promise<boolean> {
  for (let turn = 1; turn <= turns; turn++) {
    if (!(await side.sendTo(turn * up)) || !(await side.receiveTo(turn * down))) return false;
    // Asked after a turn: what was idle when the run began to hurry has to show once more that it is alive.
    if (pacer.isHurrying) return true;
    if (turn < turns) await Promise.race([pacer.pause(pauseMs), side.over]);
  }
  return true;
}

async function flow(
  side: Side,
  { up, down, pauseMs, endsFirst, stallMs }: Flow,
  { pacer, role }: { pacer: Pacer; role: 'client' | 'server' },
): Promise<boolean> {
  const [mine, theirs] = role === 'client' ? [up, down] : [down, up];
  const isLast = endsFirst !== 'both' && endsFirst !== role;
  const early = isLast ? mine - (mine >> 2) : mine;
  if (role === 'client' && stallMs > 0) void stall(side, { theirs, stallMs, pacer });
  if (!(await side.sendTo(early, { pacer, pauseMs }))) return false;
  if (isLast) {
    await side.over;
    // Something has to come after the end of the other, when the run hurries too.
    const last = pacer.isHurrying ? Math.min(mine, side.sent + hurriedBytes) : mine;
    if (side.ending !== 'end' || !(await side.sendTo(last))) return false;
  }
  side.end();
  await side.over;
  return side.ending === 'end' && (pacer.isHurrying || side.received >= theirs);
}

/** Read nothing for a while, once half of it has come. */
async function stall(
  side: Side,
  { theirs, stallMs, pacer }: { theirs: number; stallMs: number; pacer: Pacer },
): Promise<void> {
  if (!(await side.receiveTo(theirs >> 1))) return;
  side.socket.pause();
  await pacer.pause(stallMs);
  side.socket.resume();
}
