/** Names under which a successor inherits descriptors (LISTEN_FDNAMES) that are no listeners. */

/** The lock of the state dir. */
export const lockName = 'grace-lock';

/** The standard error that its predecessor logs to. */
export const consoleName = 'grace-console';

/** The standard output to which the access log goes. */
export const standardOutputName = 'grace-stdout';

/** Its end of the socket pair over which open connections move. */
export const moveSocketName = 'grace-move';
