import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { serverNameOf } from '../../src/endpoint/server-name.ts';

const timeout = 60_000;

function namesOf(text: string) {
  const endpoint = parseClient(text);
  assert.ok(endpoint.type === 'ssl' || endpoint.type === 'tls');
  return serverNameOf(endpoint);
}

test('the host is checked and sent, unless another name is given', { timeout }, () => {
  assert.deepEqual(namesOf('ssl:Www.example.com:443'), { checked: 'www.example.com', sent: 'www.example.com' });
  assert.deepEqual(namesOf('ssl:192.0.2.1:443:hostname=a.example'), { checked: 'a.example', sent: 'a.example' });
  assert.deepEqual(namesOf('tls:192.0.2.1:443:serverName=b.example'), { checked: 'b.example', sent: 'b.example' });
});

test('a name is sent in its xn-- form and without a dot at its end', { timeout }, () => {
  assert.deepEqual(namesOf('tls:bücher.example.:443'), {
    checked: 'xn--bcher-kva.example',
    sent: 'xn--bcher-kva.example',
  });
});

test('an address is checked and not sent', { timeout }, () => {
  assert.deepEqual(namesOf('tls:[0:0::1]:443'), { checked: '::1', sent: null });
  assert.deepEqual(namesOf('tls:192.0.2.1:443'), { checked: '192.0.2.1', sent: null });
});
