/** Commands about the program itself: what it understands, its versions, and the files that it makes for others. */
import type { Definition } from './definition.ts';
import { json } from './shared-arguments.ts';

/** An init system, or a part of one, that `grace unit` has a file for. */
export const unitKinds = ['systemd', 'socket', 'sysv', 'openrc', 'runit', 'supervisord', 'logrotate'] as const;

/** Their definitions, in the order of the help. */
export const programCommands = {
  endpoint: {
    aliases: [],
    summary: 'say what an endpoint string means',
    details: [
      'Checks the files that it names too. Exits with 2 for a bad one and shows the place. Put -- before a string that begins with a dash.',
    ],
    args: [
      { name: 'server|client', required: true, choices: ['server', 'client'] },
      { name: 'STRING', required: true },
    ],
    options: [json],
    examples: [
      'grace endpoint server tcp:8080:interface=127.0.0.1',
      'grace endpoint client tls:example.com:443 --json',
    ],
  },
  demo: {
    aliases: [],
    summary: 'run the demo server of the library',
    details: [
      'Listens on ports 48567, 48568 and 48569 and answers /sleep/?duration=20s. SIGUSR2 restarts it, SIGTERM ends it, both after the requests in flight.',
    ],
    args: [],
    options: [
      { name: 'addresses', value: 'LIST', help: 'addresses, with commas between (default: :48567,:48568,:48569)' },
      {
        name: 'tls-addresses',
        value: 'LIST',
        help: 'addresses that speak TLS, with a certificate made at the start (default: none)',
      },
    ],
    examples: ['grace demo', 'grace demo --addresses 127.0.0.1:8080 --tls-addresses 127.0.0.1:8443'],
  },
  upgrade: {
    aliases: [],
    summary: 'replace grace by the newest version, or another, without losing a connection',
    details: [
      'Downloads the executable, verifies checksum and signature, puts it in the place of this one in one step, and restarts the daemon as "grace restart" does. If the new one does not come up, the old executable is put back and the old daemon goes on: it never stopped.',
      'Only a release that is signed with a key that this grace trusts is taken: one from the build, or that of --key.',
    ],
    args: [],
    options: [
      { name: 'to', value: 'VERSION', help: 'this version, which may be an older one (default: the newest)' },
      {
        name: 'from',
        value: 'URL',
        help: 'where releases are (default: GRACE_RELEASE_URL, then what the build names)',
      },
      { name: 'key', value: 'FILE', help: 'trust this Ed25519 public key (PEM) and no other' },
      { name: 'check', help: 'only tell which version is there; exit code 100 when it is a newer one' },
      { name: 'timeout', value: 'DURATION', help: 'time for the new daemon to come up (default: 10s)' },
      json,
    ],
    examples: ['grace upgrade', 'grace upgrade --check', 'grace upgrade --to 0.1.0'],
  },
  unit: {
    aliases: [],
    summary: 'print the file that an init system starts grace by',
    details: [
      'With the path of this executable and the state dir in: that of -d or GRACE_DIR, or else /var/lib/grace. Its first lines say where to put it.',
    ],
    args: [{ name: 'KIND', required: true, choices: unitKinds }],
    options: [{ name: 'socket-group', value: 'GROUP', help: 'let the members of this group command the daemon' }],
    examples: [
      'grace unit systemd > /etc/systemd/system/grace.service',
      'grace -d /var/lib/edge unit openrc > /etc/init.d/grace',
    ],
  },
  completion: {
    aliases: [],
    summary: 'print completions for a shell',
    details: ['They complete commands, options, files, and the SRC of the rules that are served.'],
    args: [{ name: 'SHELL', required: true, choices: ['bash', 'zsh', 'fish'] }],
    options: [],
    examples: ['eval "$(grace completion bash)"', 'grace completion fish > ~/.config/fish/completions/grace.fish'],
  },
  man: {
    aliases: [],
    summary: 'print the manual page',
    details: [],
    args: [],
    options: [],
    examples: ['grace man | man -l -'],
  },
  help: {
    aliases: [],
    summary: 'show help, of a command, or of endpoints',
    details: [],
    args: [{ name: 'COMMAND', required: false }],
    options: [],
    examples: ['grace help start'],
  },
} satisfies Record<string, Definition>;
