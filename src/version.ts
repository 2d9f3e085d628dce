import manifest from '../package.json' with { type: 'json' };

/** Set by the build to the commit it was made from; absent when run from source, as the others here. */
declare const GRACE_COMMIT: string | undefined;
/** Set by the build to a version other than that of package.json, or null. */
declare const GRACE_VERSION: string | null | undefined;
/** Set by a release to the Ed25519 keys that may sign what `grace upgrade` installs, PEM, or null. */
declare const GRACE_PUBLIC_KEYS: string | null | undefined;
/** Set by a release to the address below which releases are found, or null. */
declare const GRACE_RELEASE_URL: string | null | undefined;

/**
 * What this program is; without a build the version alone is known. `commit`: what it was built from.
 * `publicKeys`: PEM, of those who sign releases. `releaseUrl`: the address below which releases are.
 */
export const version: string = (typeof GRACE_VERSION === 'string' ? GRACE_VERSION : null) ?? manifest.version;
export const commit: string | null = typeof GRACE_COMMIT === 'string' ? GRACE_COMMIT : null;
export const publicKeys: string | null = typeof GRACE_PUBLIC_KEYS === 'string' ? GRACE_PUBLIC_KEYS : null;
export const releaseUrl: string | null = typeof GRACE_RELEASE_URL === 'string' ? GRACE_RELEASE_URL : null;
