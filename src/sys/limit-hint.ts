import { errorCode } from '../error.ts';

/** What to do about an error of the system that says that there are no descriptors left; undefined for any other. */
export function limitHint(error: unknown): string | undefined {
  switch (errorCode(error)) {
    case 'EMFILE':
      return 'raise the limit of open files: ulimit -n';
    case 'ENFILE':
      return 'the system has no open files left: sysctl fs.file-max';
    default:
      return undefined;
  }
}
