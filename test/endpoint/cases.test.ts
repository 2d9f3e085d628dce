import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { checkClient, checkServer } from '../../src/endpoint/check.ts';
import { parseClient } from '../../src/endpoint/client.ts';
import { toJson } from '../../src/endpoint/describe.ts';
import { EndpointError } from '../../src/endpoint/error.ts';
import { resolvePaths } from '../../src/endpoint/paths.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { type EndpointCase, readEndpointCases } from './endpoint-cases.ts';
import { makePemFiles, type PemFiles } from './pem.ts';

describe('the endpoint strings of Twisted', { timeout: 60_000 }, () => {
  let files: PemFiles;
  let fileNames: Map<string, string>;
  before(() => {
    files = makePemFiles();
    fileNames = new Map([
      ['$KEY', files.key],
      ['$CERT', files.cert],
      ['$BOTH', files.both],
      ['$OTHERKEY', files.otherKey],
      ['$OTHERCERT', files.otherCert],
      ['$CHAIN', files.chain],
      ['$DH', files.dh],
      ['$JUNK', files.junk],
      ['$MISSING', files.missing],
      ['$CADIR', files.caDir],
      ['$PEMDIR', files.pemDir],
      ['$EMPTYDIR', files.emptyDir],
    ]);
  });
  after(() => files.remove());

  const fill = (text: string) => text.replace(/\$[A-Z]+/g, (name) => fileNames.get(name) ?? name);
  const cases = readEndpointCases();

  for (const each of cases) {
    const outcome = 'error' in (each.better ?? each.expect) ? 'is refused' : 'is read';
    test(`${each.kind} ${JSON.stringify(each.description)} ${outcome}`, () => {
      const wanted = JSON.parse(fill(JSON.stringify(each.better ?? each.expect)));
      const got = answer(each, fill(each.description), files.emptyDir);
      if (got.error === undefined) assert.deepEqual(got.normal, wanted);
      else
        assert.ok(
          'error' in wanted && got.error.message.includes(wanted.error),
          `${got.error.message}; wanted ${JSON.stringify(wanted)}`,
        );
    });
  }

  test('there are as many as there should be', () => {
    assert.equal(cases.length, 130);
    assert.equal(cases.filter(({ kind }) => kind === 'server').length, 76);
  });
});

type Answer = { normal?: unknown; error?: EndpointError };

/** As the endpoint command answers it, for a user whose working directory is `cwd`. */
function answer({ kind }: EndpointCase, text: string, cwd: string): Answer {
  const env = { LISTEN_FDS: '3', LISTEN_PID: `${process.pid}`, LISTEN_FDNAMES: 'web:admin:local' };
  try {
    if (kind === 'client') {
      const endpoint = parseClient(text);
      checkClient(resolvePaths(endpoint, cwd), { text });
      return { normal: toJson(endpoint) };
    }
    const endpoint = parseServer(text);
    // Which descriptors are sockets is a matter of how the test was started.
    if (endpoint.type !== 'fd') checkServer(resolvePaths(endpoint, cwd), { text, env });
    return { normal: toJson(endpoint) };
  } catch (error) {
    if (error instanceof EndpointError) return { error };
    throw error;
  }
}
