import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ownLoopback } from '../e2e/grace.ts';
import { freePort } from '../e2e/listening-socket.ts';
import { crash, disturb, meanwhile, startForward } from './forward.ts';
import { makeDirectory, missing, run, secondLoopback, startServer } from './program.ts';

const skip = missing(['rsync --version', 'rsync']);

/** Five hundred small files and a few larger ones. */
function makeTree(dir: string): void {
  for (let folder = 0; folder < 25; folder++) {
    mkdirSync(join(dir, `${folder}`), { recursive: true });
    for (let file = 0; file < 20; file++)
      writeFileSync(join(dir, `${folder}/${file}`), `${folder} ${file}\n`.repeat(100));
  }
  for (let large = 0; large < 4; large++)
    writeFileSync(join(dir, `large${large}`), Buffer.alloc(4_000_000, `${large} of the larger files\n`));
}

test(
  'rsync from and to its daemon copies a tree whole; a crash refuses nobody',
  { timeout: 240_000, skip },
  async (t) => {
    const [dir, port] = [makeDirectory(t), await freePort()];
    const [tree, pushed] = [join(dir, 'tree'), join(dir, 'pushed')];
    makeTree(tree);
    mkdirSync(pushed);
    const account = process.getuid?.() === 0 ? 'uid = root\ngid = root\n' : '';
    const common = `use chroot = no\n${account}[tree]\npath = ${tree}\n[pushed]\npath = ${pushed}\nread only = no\n`;
    for (const host of [ownLoopback, secondLoopback]) {
      const config = join(dir, `${host}.conf`);
      writeFileSync(config, common);
      const args = ['--daemon', '--no-detach', '--address', host, '--port', `${port}`, '--config', config];
      await startServer(t, 'rsync', args, { host, port });
    }
    const forward = await startForward(t, { ways: [`tcp:${ownLoopback}:${port}`, `tcp:${secondLoopback}:${port}`] });
    const url = (module: string) => `rsync://127.0.0.1:${forward.port}/${module}/`;
    let count = 0;
    const copy = async () => {
      const pulled = join(dir, `pulled${++count}`);
      await Promise.all([
        run('rsync', ['-a', url('tree'), pulled]),
        run('rsync', ['-a', `${tree}/`, `${url('pushed')}${count}/`]),
      ]);
      for (const copied of [pulled, join(pushed, `${count}`)]) {
        await run('diff', ['-r', tree, copied]);
        await run('rm', ['-r', copied]);
      }
    };
    const newcomer = () => run('rsync', ['-a', `${url('tree')}large0`, join(dir, 'one-file')]);
    const rounds = await meanwhile(copy, disturb(forward, { newcomer }));
    t.diagnostic(`${rounds * 2} copies of 504 files and 16 MB`);
    await crash(forward, newcomer);
  },
);
