/** Which program is started in place of a daemon that crashed. */
import type { Program } from '../control/shapes.ts';
import { isThisProgram } from './become.ts';

/** This process's own image: the kernel keeps it for as long as it runs, whatever has become of the file. */
const ownImage = '/proc/self/exe';

/**
 * What served goes on serving: the program is the one on disk while that is what this process runs, and
 * this process's image when another has taken its place there, which is for a restart to try. One that
 * did not come to serve is followed by the next.
 */
export class Programs {
  readonly #self: Program;
  /** How the daemon that served last was started. */
  #program: Program;
  #failures = 0;

  constructor(self: Program) {
    this.#self = self;
    this.#program = self;
  }

  served(program: Program): void {
    this.#program = program;
    this.#failures = 0;
  }

  /** The one that was started ended before it served. */
  failed(): void {
    this.#failures++;
  }

  /** In the order in which they are to be tried. */
  inTurn(): Program[] {
    const own = { file: ownImage, args: this.#self.args };
    const isKeepers =
      this.#program.file === this.#self.file && this.#program.args.join('\0') === this.#self.args.join('\0');
    const isOnDisk = isThisProgram(this.#program, this.#self);
    const all = isKeepers && !isOnDisk ? [own, this.#program] : [this.#program, own];
    const first = this.#failures % all.length;
    return [...all.slice(first), ...all.slice(0, first)];
  }
}
