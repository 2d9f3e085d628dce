/** What an answer over HTTP is, and who asks for it. */

/** An answer: its status, its type and its text, and headers of its own. */
export type Answer = { status: number; type: string; body: string; headers?: Readonly<Record<string, string>> };

/** Who asks: whether they have shown the token, if there is one, and until when they wait. */
export type Asker = { isTrusted: boolean; signal: AbortSignal };

/** What is answered at a path. */
export type Route = {
  /** Whether who has not shown the token gets an answer too; it holds nothing of the rules then. */
  isOpen: boolean;
  answer(asker: Asker): Answer | Promise<Answer>;
};

/** What is answered, by path. */
export type Routes = ReadonlyMap<string, Route>;

/** A line of text, or several, with a newline at the end. */
export function textOf(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${text}\n`, headers };
}
