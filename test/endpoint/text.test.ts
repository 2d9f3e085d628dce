import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EndpointError, quoted } from '../../src/endpoint/error.ts';
import { escaped, pieceOf, spanOf, splitFields, textOf } from '../../src/endpoint/text.ts';

/** Fields as `value` or `name=value` in a form that shows what was escaped. */
function fieldsOf(text: string): (string | [string, string])[] {
  return splitFields(pieceOf(text)).map(({ name, value }) =>
    name === null ? textOf(value) : [textOf(name), textOf(value)],
  );
}

test('fields end at colons, and positional and keyword fields mix', { timeout: 60_000 }, () => {
  assert.deepEqual(fieldsOf('a:b:d=1:c'), ['a', 'b', ['d', '1'], 'c']);
});

test('empty fields count', { timeout: 60_000 }, () => {
  assert.deepEqual(fieldsOf(''), ['']);
  assert.deepEqual(fieldsOf('a::'), ['a', '', '']);
  assert.deepEqual(fieldsOf('=:a='), [
    ['', ''],
    ['a', ''],
  ]);
});

test('a backslash takes the next character literally, whatever it is', { timeout: 60_000 }, () => {
  assert.deepEqual(fieldsOf('a\\:b\\=c\\\\d\\n'), ['a:b=c\\dn']);
  assert.deepEqual(fieldsOf('k\\=l=v'), [['k=l', 'v']]);
});

test('only the first equals sign of a field ends a name', { timeout: 60_000 }, () => {
  assert.deepEqual(fieldsOf('interface=a=b'), [['interface', 'a=b']]);
});

test('an IPv6 address in brackets that is a whole value needs no escapes', { timeout: 60_000 }, () => {
  assert.deepEqual(fieldsOf('tcp:[::1]:80'), ['tcp', '[::1]', '80']);
  assert.deepEqual(fieldsOf('host=[fe80::1%eth0]'), [['host', '[fe80::1%eth0]']]);
});

test('brackets around anything else are ordinary text', { timeout: 60_000 }, () => {
  assert.deepEqual(fieldsOf('[a:b]'), ['[a', 'b]']);
  assert.deepEqual(fieldsOf('[::1]x:80'), ['[', '', '1]x', '80']);
  assert.deepEqual(fieldsOf('x[::1]'), ['x[', '', '1]']);
  assert.deepEqual(fieldsOf('[::1'), ['[', '', '1']);
});

test('a lone backslash at the end is refused, and shown', { timeout: 60_000 }, () => {
  assert.throws(
    () => fieldsOf('tcp:✓\\'),
    (error) => {
      assert.ok(error instanceof EndpointError);
      assert.deepEqual(error.place, { start: 5, end: 6 });
      assert.match(error.message, /trailing backslash, at character 6$/);
      return true;
    },
  );
});

test('places count code points and include escapes', { timeout: 60_000 }, () => {
  const [, field] = splitFields(pieceOf('🙂:k=\\:b:c'));
  assert.ok(field?.name);
  assert.deepEqual(spanOf(field.name), { start: 2, end: 3 });
  assert.deepEqual(spanOf(field.value), { start: 4, end: 7 });
});

test('escaped text is read back as one value', { timeout: 60_000 }, () => {
  for (const text of ['', 'a:b', 'C:\\k.pem', 'a=b', '[::1]', '\\', '🙂=:\\']) {
    assert.deepEqual(fieldsOf(escaped(text)), [text]);
    assert.deepEqual(fieldsOf(`name=${escaped(text)}`), [['name', text]]);
  }
});

test('messages show text as it was given, and control characters by number', { timeout: 60_000 }, () => {
  assert.equal(quoted('a\\:"ü'), '"a\\:"ü"');
  assert.equal(quoted('a\n\u001b[0m\0'), '"a\\u{a}\\u{1b}[0m\\u{0}"');
});
