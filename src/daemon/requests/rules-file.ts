import type { Request } from '../../control/messages.ts';
import type { RequestContext } from '../../control/server.ts';
import type { Service } from '../service.ts';
import { whileServing } from './handler.ts';

/** Who follows a file of rules cannot do so at the moment: `status` and the log tell for as long as that is so. */
export async function sayNotFollowed(
  service: Service,
  { file, problem }: Request<'rules-file'>,
  { signal }: RequestContext<'rules-file'>,
): Promise<never> {
  const what = `rules of ${file}`;
  service.troubles.add(what, `the rules are those from before ${file} was changed, which cannot be used: ${problem}`);
  try {
    return await whileServing(service, signal);
  } finally {
    service.troubles.remove(what);
  }
}
