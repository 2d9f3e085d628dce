import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { openFakeDaemon } from './fake-daemon.ts';
import { openTempDir, runWords } from './run-cli.ts';

const timeout = 60_000;

for (const [text, message] of [
  ['rules: [', /^grace: rules\.yaml:1:9: /],
  [
    '',
    /^grace: rules\.yaml:1:1: the file has no rules\nhint: one without any, which stops them all, says so: rules: \[\]\n$/,
  ],
  ['# cut\n', /^grace: rules\.yaml:1:1: the file has no rules\n/],
  ['rule: []\n', /^grace: rules\.yaml:1:1: the file has no "rules"\nhint: its form: /],
  ['[1, 2]\n', /^grace: rules\.yaml:1:1: the file is a list, and no rules\n/],
  ['hello there\n', /^grace: rules\.yaml:1:1: the file is a text, and no rules\nhint: .*\n$/],
  ['rules:\n', /^grace: rules\.yaml:\d:\d: rules is empty, and is to be a list of rules\n/],
  ['rules: 3\n', /^grace: rules\.yaml:1:8: rules is the number 3, and is to be a list of rules\n/],
  ['rules: [tcp:1]\n', /^grace: rules\.yaml:1:9: rules\.0 is a text, and is to be a rule: src and dst\n/],
  ['rules:\n  - src: tcp:1\n', /^grace: rules\.yaml:2:5: rules\.0 has no dst\n/],
  [
    'rules:\n  - src: 8080\n    dst: tcp:a:9\n',
    /^grace: rules\.yaml:2:10: rules\.0\.src is the number 8080, and is to be a text\nhint: write '8080' with the quotes, or tcp:8080\n$/,
  ],
  [
    'rules:\n  - src: tcp:1\n    dst: 9\n',
    /^grace: rules\.yaml:3:10: rules\.0\.dst is the number 9, .*\nhint: write '9' with the quotes, or tcp:127\.0\.0\.1:9\n$/,
  ],
  [
    'rules:\n  - {src: tcp:1, dts: tcp:a:9}\n',
    /^grace: rules\.yaml:2:\d+: rules\.0 has no (dst\n|"dts"\nhint: is dst meant\?)/,
  ],
  [Buffer.from('\x7fELF\x02\x01\x01\0\0\0'), /^grace: rules\.yaml: this is no text\nhint: .*\n$/],
  [Buffer.from([0x89, 0x50, 0x4e, 0x47, 0xff, 0xfe]), /^grace: rules\.yaml: this is no text in UTF-8\nhint: .*\n$/],
  [
    'rules:\n  - src: tcp:1\n    dst: tcp:a:9\n    wait: 3\n',
    /^grace: rules\.yaml:4:11: rules\.0 has no "wait"\nhint: there is src, dst, name\n$/,
  ],
  [
    'rules:\n  - src: tcp:1\n    dst: tcp:a\n',
    /^grace: rules\.yaml:3:10: cannot read endpoint "tcp:a": missing argument: port\nhint: /,
  ],
  ['rules:\n  - {src: "tcp:1:certKey=x", dst: "tcp:a:1"}\n', /^grace: rules\.yaml:2:11: cannot read endpoint/],
  ['rules:\n  - {src: "ssl:1:privateKey=/no/such", dst: "tcp:a:1"}\n', /^grace: rules\.yaml:2:11: .*\/no\/such/],
  ['rules:\n  - {name: tcp, src: "tcp:1", dst: "tcp:a:1"}\n', /^grace: rules\.yaml:2:12: rules\.0\.name is no name: /],
  [
    'rules:\n  - {src: "tcp:1", dst: "tcp:a:1"}\n  - {src: "tcp:port=1:backlog=7", dst: "tcp:a:2"}\n',
    /^grace: rules\.yaml:3:11: another rule has this address already, at rules\.yaml:2:11\n/,
  ],
  [
    'rules:\n  - {src: "tcp:1", dst: "tcp:${NO_SUCH}:1"}\n',
    /^grace: rules\.yaml:2:25: the variable NO_SUCH is not set: /,
  ],
  ['rules:\n  - {src: "tcp:1", dst: "tcp:${NO-SUCH}:1"}\n', /^grace: rules\.yaml:2:25: \$\{NO-SUCH\} is no variable: /],
  [
    'rules:\n  - {name: a, src: "tcp:1", dst: "tcp:a:1"}\n  - {name: a, src: "tcp:2", dst: "tcp:a:2"}\n',
    /^grace: rules\.yaml:3:12: another rule has this name already, at rules\.yaml:2:12\n/,
  ],
] as const) {
  test(
    `a file that is wrong (${JSON.stringify(String(text)).slice(0, 60)}) is refused with the place, and nobody is asked`,
    { timeout },
    async () => {
      using directory = openTempDir();
      writeFileSync(join(directory.path, 'rules.yaml'), text);
      await using daemon = await openFakeDaemon(() => []);
      const { exitCode, stdout, stderr } = await runWords(['-d', daemon.dir, 'apply', 'rules.yaml'], {
        cwd: directory.path,
      });
      assert.equal(exitCode, 2, stderr);
      assert.match(stderr, message);
      assert.equal(stdout, '');
      assert.deepEqual(daemon.requests, []);
    },
  );
}

test('a file that is not there is said to be so, and no daemon is exit code 3', { timeout }, async () => {
  assert.match((await runWords(['apply', '/no/such.yaml'])).stderr, /^grace: cannot read \/no\/such\.yaml: .*ENOENT/);
  assert.equal(
    (
      await runWords(['-d', '/nowhere/state', 'apply', '-'], {
        readStdin: () => Promise.resolve(Buffer.from('rules: []')),
      })
    ).exitCode,
    3,
  );
});

test('the schema is one of JSON, and says what a rule is', { timeout }, async () => {
  const { stdout, exitCode } = await runWords(['schema']);
  assert.equal(exitCode, 0);
  const schema = JSON.parse(stdout);
  assert.match(schema.$schema, /json-schema\.org/);
  assert.deepEqual(schema.required, ['rules']);
  const { items } = schema.properties.rules;
  assert.deepEqual(
    [Object.keys(items.properties), items.required, items.additionalProperties],
    [['src', 'dst', 'name'], ['src', 'dst'], false],
  );
});

test(
  'export prints endpoints as they were typed, and paths as they are wherever they are read',
  { timeout },
  async () => {
    const rules = [
      { src: { typed: '8080', absolute: 'tcp:8080', name: 'web' }, dst: { typed: 'tcp:a:1', absolute: 'tcp:a:1' } },
      { src: { typed: 'unix:x.sock', absolute: 'unix:/srv/x.sock' }, dst: { typed: 'tcp:a:2', absolute: 'tcp:a:2' } },
    ];
    await using daemon = await openFakeDaemon(() => [{ result: { rules } }]);
    const { stdout } = await runWords(['-d', daemon.dir, 'export']);
    assert.deepEqual(parse(stdout), {
      rules: [
        { name: 'web', src: '8080', dst: 'tcp:a:1' },
        { src: 'unix:/srv/x.sock', dst: 'tcp:a:2' },
      ],
    });
  },
);

test('what is no file of rules is not read to its end, nor taken for text', { timeout: 60_000 }, async () => {
  for (const [file, stdin, problem] of [
    ['', '', 'apply needs FILE, not an empty text'],
    ['/dev/zero', '', 'cannot read /dev/zero: it is larger than 64 MiB'],
    ['/', '', 'cannot read /: illegal operation on a directory (EISDIR)'],
    ['-', "rules: [{src: 'unix:/caf\xe9', dst: '9'}]", 'stdin: this is no text in UTF-8'],
  ] as const) {
    const { exitCode, stderr } = await runWords(['-d', '/nowhere/state', 'apply', file], {
      readStdin: () => Promise.resolve(Buffer.from(stdin, 'latin1')),
    });
    assert.equal(exitCode, 2, stderr);
    assert.equal(stderr.split('\n')[0], `grace: ${problem}`);
  }
});

test('apply says so when somebody else changed rules at the same time', { timeout }, async () => {
  const text = (typed: string) => ({ typed, absolute: typed });
  const [wanted, other] = ['tcp:28081', 'tcp:28082'].map((src) => ({ src: text(src), dst: text('tcp:a:1') }));
  for (const isChanged of [false, true]) {
    const answers = [[], isChanged ? [wanted, other] : [wanted]];
    await using daemon = await openFakeDaemon(({ command }) =>
      command === 'export'
        ? [{ result: { rules: answers.shift() } }]
        : [{ progress: { made: 1, notes: [] } }, { result: { closed: 0 } }],
    );
    const { exitCode, stdout, stderr } = await runWords(['-d', daemon.dir, 'apply', '-'], {
      readStdin: () => Promise.resolve(Buffer.from("rules: [{src: 'tcp:28081', dst: 'tcp:a:1'}]")),
    });
    assert.equal(exitCode, isChanged ? 1 : 0, stderr);
    assert.equal(stdout, `start tcp:28081 tcp:a:1\n${isChanged ? '' : 'Applied 1 changes\n'}`);
    if (isChanged) assert.match(stderr, /^grace: another command changed rules at the same time: .*\nhint: .*\n$/);
  }
});
