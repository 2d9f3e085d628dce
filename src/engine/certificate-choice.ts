/** Which certificate a client is shown where there are several, by the name that it asks for and what keys it can use. Both engines ask here. */
import { chooseIdentities, defaultIdentities } from '../endpoint/directory.ts';
import type { NamedIdentity } from '../endpoint/directory.ts';

/** What of a certificate decides. */
export type Presentable = Pick<NamedIdentity, 'names' | 'keyType' | 'validity'>;

/** Those among which is chosen; `hasOther`: a client that asks for none of them gets another one. */
export type Presentables<Each extends Presentable> = { readonly named: readonly Each[]; readonly hasOther: boolean };

/**
 * The one for a name, with the cheapest key of those that the client can use (client-hello.ts has their kinds); undefined: another
 * one, which is not among them.
 */
export function chooseCertificate<Each extends Presentable>(
  { named, hasOther }: Presentables<Each>,
  name: string,
  usable: readonly string[],
): Each | undefined {
  const chosen = chooseIdentities(named, name);
  if (chosen.length > 0 || hasOther) return bestOf(chosen, usable);
  return bestOf(defaultIdentities(named), usable);
}

/** The one whose key is the cheapest that the client can use; the first when it can use none, and is told so. */
function bestOf<Each extends Presentable>(identities: readonly Each[], usable: readonly string[]): Each | undefined {
  for (const type of usable) {
    const found = identities.find(({ keyType }) => keyType === type);
    if (found) return found;
  }
  return identities[0];
}
