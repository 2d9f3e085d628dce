/** Which files the ends of a rule name: those of TLS, of all places that it leads to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { certificatesOfDestination, certificatesOfSource } from '../../../src/daemon/rules/certificate-end.ts';
import { readSource, readTarget } from '../../../src/daemon/rules/specs.ts';

const text = (typed: string) => ({ typed, absolute: typed });
const source = (typed: string) => certificatesOfSource(readSource(text(typed)));
const destination = (typed: string) =>
  certificatesOfDestination(readSource(text('tcp:1')), readTarget(text(typed))).map(({ paths }) => paths.toSorted());

test('an end without files of TLS has nothing to follow', () => {
  for (const each of ['tcp:1', 'unix:/s', 'haproxy:tcp:1', 'tcp:1:allow=@/networks']) assert.equal(source(each), null);
  const plain = ['tcp:h:1', 'unix:/s', 'unix:/s:lockfile=1', 'srv:_a._tcp.b', 'sni:a.b=/s:default=1'];
  const ofSystem = [
    'ssl:h:1',
    'tls:h:1',
    'tls:h:1:insecure=yes',
    'tls:h:1:endpoint=unix\\:/s',
    'sni:a.b=tls\\://h\\:1',
  ];
  for (const each of [...plain, ...ofSystem]) assert.deepEqual(destination(each), [], each);
});

test('the files of a source are those of its TLS, but not its lists of networks', () => {
  const typed = 'haproxy:ssl:1:privateKey=/k:certKey=/c:clientCA=/a:sni=/s:passphrase=file\\:/p:allow=@/networks';
  assert.deepEqual(source(typed)?.paths.toSorted(), ['/a', '/c', '/k', '/p', '/s']);
});

test('the files of a destination are those of each TLS by itself, but no sockets', () => {
  assert.deepEqual(destination('ssl:h:1:caCertsDir=/a:certKey=/c:privateKey=/k:passphrase=file\\:/p'), [
    ['/a', '/c', '/k', '/p'],
  ]);
  assert.deepEqual(destination('tls:h:1:trustRoots=/a:endpoint=unix\\:/s'), [['/a']]);
  assert.deepEqual(destination('tls:h:1:trustRoots=/a:endpoint=ssl\\:i\\:2\\:caCertsDir=/b'), [['/a'], ['/b']]);
  assert.deepEqual(destination('sni:a.b=ssl\\:h\\:1\\:caCertsDir=/a:c.d=/s:default=tls\\:h\\:1\\:certificate=/c'), [
    ['/a'],
    ['/c'],
  ]);
});

test('places of a destination with the same files are looked at together', () => {
  const way = 'ssl\\:h\\:1\\:caCertsDir=/a';
  const [end, ...others] = certificatesOfDestination(
    readSource(text('tcp:1')),
    readTarget(text(`sni:a.b=${way}:c.d=${way}`)),
  );
  assert.deepEqual([end?.paths, end?.speaks.size, others], [['/a'], 2, []]);
});
