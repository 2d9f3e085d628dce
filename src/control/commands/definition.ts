/** What a command is made of: its line as data, and what it says to the daemon. */
import type * as v from 'valibot';

/** An option of a command. */
export type OptionDefinition = {
  /** Long name without dashes, as typed: `no-check`. */
  name: string;
  /** Its letter, `d` for `-d`. */
  short?: string;
  /** What its value is called in help; an option without one is a switch. */
  value?: string;
  /** The only words its value can be. */
  choices?: readonly string[];
  help: string;
};

/** A word after the command's name. */
export type ArgumentDefinition = {
  /** As shown in help. */
  name: string;
  required: boolean;
  /** Any number of them; the last argument. */
  isList?: true;
  /** A command line of its own, which `--` separates from ours. */
  isAfterDashes?: true;
  /** The only words it can be. */
  choices?: readonly string[];
};

/** What help, completions, the manual page and the parser know of a command. */
export type Definition = {
  aliases: readonly string[];
  /** What it does, in one line that fits beside the name. */
  summary: string;
  /** What else a user should know, a paragraph each. */
  details: readonly string[];
  args: readonly ArgumentDefinition[];
  options: readonly OptionDefinition[];
  examples: readonly string[];
  /** What it asks the daemon, what that answers, and what it may tell before. */
  asks?: Conversation;
};

/** What is said over the control socket for one request, as schemas. What an earlier version does not say is optional. */
export type Conversation = { request: v.GenericSchema; answer: v.GenericSchema; progress: v.GenericSchema };
