/** Who in a thread carries out which command of the main thread. */
import { collectGarbage } from '../../sys/garbage.ts';
import type { ThreadCommand } from './messages.ts';
import type { Roles } from './roles.ts';

/** Carry out a command; `stop` is the loop's own. */
export function executeCommand(
  {
    thread,
    upstreams,
    dialer,
    acceptor,
    waitingRoom,
    clientHandshakes,
    destroyer,
    freezer,
    lister,
    idle,
    lifetime,
    tls,
    terminator,
    originator,
  }: Roles,
  command: Exclude<ThreadCommand, { type: 'stop' }>,
): void {
  switch (command.type) {
    case 'open-upstream':
      originator.open(command.plan);
      return upstreams.open(command.plan);
    case 'set-upstream-tls':
      return upstreams.setTls(command.upstream, command.tls);
    case 'forget-upstream':
      return upstreams.forget(command.upstream);
    case 'watch':
      return upstreams.watch(command.upstream);
    case 'resolved':
      return dialer.resolved(command);
    case 'destroy':
      return destroyer.destroy(command.upstream, command.why);
    case 'open-frontend':
      terminator.open(command.plan);
      acceptor.open(command.plan);
      idle.add(command.plan);
      return lifetime.add(command.plan);
    case 'set-networks':
      return thread.frontends.get(command.frontend)?.admission?.setNetworks(command.networks);
    case 'look-for-room':
      return command.frontend === null ? acceptor.lookForRoomInTotal() : acceptor.lookForRoom(command.frontend);
    case 'look-in-queue':
      return acceptor.lookInQueue(command.frontend);
    case 'count-elsewhere':
      return acceptor.countElsewhere(command.frontend, command.count);
    case 'close-frontend':
      return acceptor.close(command.frontend);
    case 'set-context':
      return acceptor.setContext(command.frontend, command.context);
    case 'end-handshakes':
      clientHandshakes.endHandshakes();
      return dialer.endHandshakes();
    case 'release-held':
      return waitingRoom.release(command.hold);
    case 'route-held':
      return waitingRoom.route(command.hold, command.upstream);
    case 'surrender-held':
      return waitingRoom.surrender(command.hold);
    case 'freeze':
      return thread.send({
        type: 'frozen',
        upstream: command.upstream,
        ...freezer.freeze(command.upstream, command),
      });
    case 'thaw':
      return freezer.thaw(command.clients);
    case 'release':
      return freezer.release(command.clients);
    case 'adopt':
      if (command.keys !== null) tls.useKeys(command.keys);
      return freezer.adopt(command.connections, command);
    case 'list':
      return thread.send({
        type: 'listed',
        question: command.question,
        ...lister.list(command.upstreams, command.from),
      });
    case 'close-connections':
      return thread.send({
        type: 'closed-connections',
        question: command.question,
        count: destroyer.close(command.ids),
      });
    case 'trim-memory':
      tls.trimMemory();
      return collectGarbage();
    case 'answer':
      return thread.send({ type: 'answered', question: command.question });
    case 'use-context':
    case 'forget-context':
    case 'seal-tickets':
      return; // these are for the thread of handshakes
  }
}
