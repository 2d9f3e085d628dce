/** openssl as a client that goes on with any session anywhere, which no library of ours does. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Say something by `openssl s_client`, and end when the answer has come or the connection is over.
 *
 * @returns all that was printed: what it says of the connection, and what came over it
 */
export async function talkByOpenssl(
  port: number,
  { say, awaited, args }: { say: string; awaited: RegExp; args: readonly string[] },
): Promise<string> {
  const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args]);
  let heard = '';
  client.stdin.on('error', () => {}); // it was refused
  client.stderr.resume();
  client.stdout.setEncoding('latin1').on('data', (text: string) => {
    heard += text;
    if (awaited.test(heard)) client.stdin.end();
  });
  client.stdin.write(say);
  await once(client, 'close');
  return heard;
}
