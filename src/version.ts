import manifest from '../package.json' with { type: 'json' };

/** Set by the build to the commit it was made from; absent when run from source, as the others here. */
declare const GRACE_COMMIT: string | undefined;
/** Set by the build to a version other than that of package.json, or null. */
declare const GRACE_VERSION: string | null | undefined;
/** Set by a release to the Ed25519 keys that may sign what `grace upgrade` installs, PEM, or null. */
declare const GRACE_PUBLIC_KEYS: string | null | undefined;
/** Set by a release to the address below which releases are found, or null. */
declare const GRACE_RELEASE_URL: string | null | undefined;

/** Version of this program, as semver.org has it. Without a build it is all that is known. */
export const version: string = (typeof GRACE_VERSION === 'string' ? GRACE_VERSION : null) ?? manifest.version;
/** What it was built from; null without a build. */
export const commit: string | null = typeof GRACE_COMMIT === 'string' ? GRACE_COMMIT : null;
/** Keys of those who sign releases, PEM; null where none is trusted. */
export const publicKeys: string | null = typeof GRACE_PUBLIC_KEYS === 'string' ? GRACE_PUBLIC_KEYS : null;
/** The address below which releases are; null where none is known. */
export const releaseUrl: string | null = typeof GRACE_RELEASE_URL === 'string' ? GRACE_RELEASE_URL : null;
