import type { SystemdServer } from '../../endpoint/model.ts';
import { GraceError } from '../../error.ts';
import { formatAddress } from '../../net/listener.ts';
import type { Listener } from '../../net/listener.ts';

/** A socket that the first generation inherited from init or another parent, under the number it had there. */
export type InheritedSocket = {
  listener: Listener;
  fd: number;
  /** Its place among systemd's sockets, from 0; null when it came as a bare descriptor. */
  index: number | null;
  name: string;
};

type ChooseOptions = {
  inherited: readonly InheritedSocket[];
  /** Which rule listens on what, as it was typed. */
  users: ReadonlyMap<Listener, string>;
  /** Of several that are meant take none, unless it is for a stored rule: that has had the first before. */
  mustBeOne: boolean;
};

/** The socket that an endpoint speaks of and that no rule uses. Throws GraceError when there is none, or more than one. */
export function chooseSocket(endpoint: SystemdServer, { inherited, users, mustBeOne }: ChooseOptions): Listener {
  const { domain, index, name } = endpoint;
  const wanted = index === null ? `named "${name}"` : `with index ${index}`;
  const [any] = inherited.filter((socket) => isMeant({ ...endpoint, domain: null }, socket));
  const meant = inherited.filter((socket) => isMeant(endpoint, socket));
  if (!any)
    throw new GraceError(`no socket ${wanted} was passed to the daemon`, {
      hint: 'systemd sockets are passed to: grace daemon, run by a service with a socket unit',
    });
  const [first] = meant;
  if (!first)
    throw new GraceError(
      `the socket ${wanted} is of the family ${any.listener.address.family.toUpperCase()}, not ${domain}`,
    );
  if (meant.length > 1 && mustBeOne) throw severalSockets(wanted, meant);
  const free = meant.find(({ listener }) => !users.has(listener));
  if (!free) throw alreadyUsed(`the socket ${wanted}`, users.get(first.listener));
  return free.listener;
}

/** Whether an endpoint speaks of a socket that was passed. */
export function isMeant(
  { domain, index, name }: Pick<SystemdServer, 'domain' | 'index' | 'name'>,
  socket: InheritedSocket,
): boolean {
  if (domain !== null && domain !== socket.listener.address.family.toUpperCase()) return false;
  return index === null ? socket.name === name : socket.index === index;
}

function severalSockets(wanted: string, sockets: readonly InheritedSocket[]): GraceError {
  const list = sockets.map(({ index, listener }) => `${formatAddress(listener.address)} (index ${index})`).join(', ');
  return new GraceError(`${sockets.length} sockets ${wanted} were passed to the daemon: ${list}`, {
    hint: `take one, in a rule of its own: systemd:index=${sockets[0]!.index}; or give each a FileDescriptorName= of its own`,
  });
}

/** Clients would come to the one rule or the other, as it happens. */
export function alreadyUsed(what: string, user: string | undefined): GraceError {
  return new GraceError(`${what} is used by ${user} already`, { hint: `to stop that rule: grace stop ${user}` });
}
