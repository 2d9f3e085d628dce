import http from 'node:http';

/** The text of a GET over a Unix socket or from a port of this machine, on a connection of its own unless told otherwise. */
export function get(
  where: { socketPath: string } | { port: number; host: string },
  path = '/',
  agent: http.Agent | false = false,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ ...where, path, agent }, (response) => {
      let text = '';
      response
        .setEncoding('utf8')
        .on('data', (chunk: string) => (text += chunk))
        .on('end', () => resolve(text))
        .on('error', reject);
    });
    request.on('error', reject);
  });
}
