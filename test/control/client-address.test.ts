import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readClientAddress } from '../../src/control/client-address.ts';

for (const [text, client, isMeant] of [
  ['10.0.0.7', '10.0.0.7:4711', true],
  ['10.0.0.7', '10.0.0.70:4711', false],
  ['10.0.0.7:4711', '10.0.0.7:4711', true],
  ['10.0.0.7:4711', '10.0.0.7:471', false],
  ['10.0.0.0/8', '10.255.0.1:1', true],
  ['10.0.0.0/8', '11.0.0.1:1', false],
  ['0.0.0.0/0', '11.0.0.1:1', true],
  ['::1', '[::1]:4711', true],
  ['[::1]', '[::1]:4711', true],
  ['[::1]:4711', '[::1]:4712', false],
  ['0:0:0:0:0:0:0:1', '[::1]:4711', true],
  ['fd00::/8', '[fd12::1]:1', true],
  ['::1', '127.0.0.1:1', false],
  ['127.0.0.1', 'unix', false],
  ['unix', 'unix', true],
  ['unix', '127.0.0.1:1', false],
] as const)
  test(`a client at ${client} is ${isMeant ? '' : 'not '}meant by ${text}`, () => {
    assert.equal(readClientAddress(text)(client), isMeant);
  });

for (const text of [
  '',
  'example.com',
  '10.0.0',
  '10.0.0.0/33',
  '::/129',
  '10.0.0.7:x',
  '10.0.0.7:70000',
  '10.0.0.0/8:1',
  '/8',
])
  test(`"${text}" is no address of clients`, () => {
    assert.throws(() => readClientAddress(text), { code: 'ERR_GRACE_USAGE', message: /expected an address/ });
  });
