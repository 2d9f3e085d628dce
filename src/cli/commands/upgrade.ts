import { resolve } from 'node:path';
import { GraceError } from '../../error.ts';
import { compareVersions, machineName } from '../../upgrade/artifacts.ts';
import { prepareDownloads } from '../../upgrade/download.ts';
import { findRelease, readBase, readPublicKeys, readVersion } from '../../upgrade/release.ts';
import type { Release, ReleasePlace } from '../../upgrade/release.ts';
import { noteOnPackage } from '../../upgrade/package.ts';
import { refreshShared } from '../../upgrade/shared.ts';
import { upgrade } from '../../upgrade/upgrade.ts';
import type { UpgradeOptions } from '../../upgrade/upgrade.ts';
import { publicKeys, releaseUrl } from '../../version.ts';
import { readFileWithin } from '../bounded-input.ts';
import { mustNotBeEmpty } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { parseDurationOption } from '../duration.ts';
import { StatusLine, formatSize, printJson, printLine, printNote } from '../output.ts';
import { describeRestart } from './restart.ts';

/** `grace upgrade [--to VERSION] [--from URL] [--key FILE] [--check] [--timeout DURATION]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, signal, self, version, stdout } = context;
  const to = input.value('to');
  const wanted = to === undefined ? null : readVersion(to);
  const timeoutMs = parseDurationOption(input.value('timeout') ?? '10s', '--timeout');
  const place = await releasePlace(context, input);
  if (!input.has('check') && self.args.length > 0) {
    throw new GraceError('cannot upgrade: grace runs from its source here', {
      hint: 'an upgrade replaces the executable that "npm run build" makes',
    });
  }
  prepareDownloads(context.env);
  const release = await findRelease(place, wanted, signal);
  const order = compareVersions(release.version, version);
  const isCheck = input.has('check');
  if (order === 0 || (order < 0 && wanted === null) || isCheck) {
    if (input.has('json'))
      printJson(context, { version, available: release.version, isNewer: order > 0, changed: false });
    else printLine(stdout, compared({ release, version, isWanted: wanted !== null }));
    return isCheck && order > 0 ? newerExitCode : 0;
  }
  const { target, restarted, others } = await withStatusLine(context, (onStep) =>
    upgrade({ place, release, dir, self, version, timeoutMs, signal, onStep }),
  );
  const failed = others.flatMap(({ dir: other, outcome }) =>
    outcome instanceof GraceError
      ? [`the daemon in ${other} was not restarted: ${outcome.message}; to do it: grace -d ${other} restart`]
      : [],
  );
  const notes = [...failed, ...(await refreshShared(target)), noteOnPackage(target) ?? []].flat();
  if (input.has('json')) {
    const done = others.flatMap(({ dir: other, outcome }) =>
      outcome instanceof GraceError ? [] : [{ dir: other, ...outcome }],
    );
    printJson(context, {
      version,
      available: release.version,
      isNewer: order > 0,
      changed: true,
      target,
      restarted: [...(restarted ? [{ dir, ...restarted }] : []), ...done],
      notes,
    });
  } else {
    printLine(stdout, `${order < 0 ? 'Downgraded' : 'Upgraded'} ${target}: ${version} -> ${release.version}`);
    if (restarted) printLine(stdout, describeRestart(restarted));
    for (const { dir: other, outcome } of others) {
      if (!(outcome instanceof GraceError)) printLine(stdout, describeRestart(outcome, other));
    }
  }
  for (const note of notes) printNote(context, note);
  return 0;
}

/** Of `--check`, when a newer version is there: as `dnf check-update` has it. */
const newerExitCode = 100;

function compared({ release, version, isWanted }: { release: Release; version: string; isWanted: boolean }): string {
  const order = compareVersions(release.version, version);
  if (order === 0) return isWanted ? `This is grace ${version} already` : `grace ${version} is the newest`;
  if (isWanted || order > 0) return `grace ${release.version} is there; this is ${version}`;
  return `This is grace ${version}; the newest that is released is ${release.version}`;
}

async function releasePlace({ env, cwd }: Context, input: Input): Promise<ReleasePlace> {
  const named = input.value('from') ?? (env['GRACE_RELEASE_URL'] || undefined);
  const base = named ?? releaseUrl;
  if (base === null)
    throw new GraceError('this build of grace does not know where releases are', {
      hint: 'name the place with --from URL',
      code: 'ERR_GRACE_USAGE',
    });
  const keyFile = input.value('key');
  mustNotBeEmpty(keyFile, { what: 'option --key', needs: 'a file' });
  const pem = keyFile === undefined ? publicKeys : await readKeyFile(resolve(cwd, keyFile));
  if (pem === null)
    throw new GraceError('this build of grace trusts no key', {
      hint: 'name the file of a public key with --key FILE',
      code: 'ERR_GRACE_USAGE',
    });
  return {
    base: readBase(base, { isExplicit: named !== undefined }),
    keys: readPublicKeys(pem),
    machine: machineName(process.platform, process.arch),
  };
}

async function readKeyFile(file: string): Promise<string> {
  return (await readFileWithin(file, { maxBytes: 1 << 20, what: `the key ${file}` })).toString('utf8');
}

async function withStatusLine<T>(context: Context, work: (onStep: UpgradeOptions['onStep']) => Promise<T>): Promise<T> {
  using line = new StatusLine(context);
  let shown = '';
  return await work((step, progress) => {
    const text = progress === undefined ? step : `${step}: ${describeProgress(progress)}`;
    // Chunks come by the thousand, and a terminal need not see each.
    if (text !== shown) line.show(text);
    shown = text;
  });
}

/** `12 MB of 28 MB (43 %)` */
function describeProgress({ received, announced }: { received: number; announced: number | null }): string {
  if (!announced) return formatSize(received);
  return `${formatSize(received)} of ${formatSize(announced)} (${Math.floor((received / announced) * 100)} %)`;
}
