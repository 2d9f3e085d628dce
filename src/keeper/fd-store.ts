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

  /** Keep a descriptor for each of these names. Returns the names for which there is none, of which nothing is kept. */
  keepAll(names: readonly string[], fds: readonly number[]): string[] {
    return names.filter((name, index) => {
      const fd = fds[index];
      if (fd === undefined) this.forget(name);
      else this.keep(name, fd);
      return fd === undefined;
    });
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
