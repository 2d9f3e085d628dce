#!/bin/sh
# ready.sh [DIR]: exits with 0 while the grace of this state dir is to get new connections. For whatever asks by a command.
# `ready` has 50 while every rule listens and 0 before that ends; a grace that was killed could not write the 0, but has
# let go of the lock. DIR is $GRACE_DIR, or else /var/lib/grace, unless said otherwise.
dir=${1:-${GRACE_DIR:-/var/lib/grace}}
read -r ready 2>/dev/null <"$dir/ready" && [ "$ready" -gt 0 ] || exit 1
status=0
flock --nonblock --conflict-exit-code 75 "$dir/grace.lock" true || status=$?
[ "$status" -eq 75 ]
