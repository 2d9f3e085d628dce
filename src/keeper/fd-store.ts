import { closeFd } from '../sys/descriptor.ts';

/** Copies of what the daemon listens on, of its lock and of its control socket, by name; they are this object's. */
export class FdStore implements Iterable<[name: string, fd: number]> {
  readonly #fds: Map<string, number>;

  constructor(entries: Iterable<[name: string, fd: number]>) {
    this.#fds = new Map(entries);
  }

  /** In place of an earlier one of the same name. */
  keep(name: string, fd: number): void {
    this.forget(name);
    this.#fds.set(name, fd);
  }

  forget(name: string): void {
    const known = this.#fds.get(name);
    this.#fds.delete(name);
    if (known !== undefined) closeFd(known);
  }

  [Symbol.iterator](): Iterator<[name: string, fd: number]> {
    return this.#fds.entries();
  }
}
