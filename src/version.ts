import manifest from '../package.json' with { type: 'json' };

/** Set by the build to the commit it was made from; absent when run from source. */
declare const GRACE_COMMIT: string | undefined;

export const version: string = manifest.version;
export const commit: string | null = typeof GRACE_COMMIT === 'string' ? GRACE_COMMIT : null;
