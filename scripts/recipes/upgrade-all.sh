#!/bin/sh
# upgrade-all.sh [--dry-run] VERSION HOST…: brings the grace of these machines to VERSION, one after the other. A machine must serve
# after it before the next one's turn comes; the first that does not ends it. Run again, it goes on where it stopped.
set -eu
usage() {
  cat <<'EOF'
usage: upgrade-all.sh [--dry-run] VERSION HOST…
From the environment (default):
  ON       runs a command on a machine: $ON HOST COMMAND (ssh -o BatchMode=yes -o ConnectTimeout=10)
  GRACE    grace there, with its state dir (grace -d /var/lib/grace)
  UPGRADE  what brings VERSION to a machine, run there ($GRACE upgrade --to VERSION)
  CHECK    run here, with the machine as $1: whether connections go through it (nobody looks)
  LOOKS    so many times, a second apart, a machine must be found well after its upgrade (10)
EOF
}
dry=''
case ${1:-} in
  -h | --help) usage && exit 0 ;;
  --dry-run) dry=yes && shift ;;
esac
# A word that is no VERSION or HOST would be run as one, on machines that serve: `--dryrun`, or an option of ssh.
for word; do
  case $word in
    -*) echo "upgrade-all.sh: unknown option $word, or out of place" >&2 && usage >&2 && exit 2 ;;
  esac
done
[ $# -ge 2 ] || { usage >&2 && exit 2; }
version=${1#v}
case $version in
  [0-9]*) ;;
  *) echo "upgrade-all.sh: $1 is no version" >&2 && usage >&2 && exit 2 ;;
esac
shift
: "${ON:=ssh -o BatchMode=yes -o ConnectTimeout=10}" "${GRACE:=grace -d /var/lib/grace}" "${LOOKS:=10}"
: "${UPGRADE:=$GRACE upgrade --to $version}" "${CHECK:=}"
[ -n "$CHECK" ] || echo 'upgrade-all.sh: no CHECK: nobody looks whether connections go through' >&2

# shellcheck disable=SC2086 # ON is words
on() { $ON "$@" </dev/null; }

# What a command said, in one line; or else what is to be said of its silence.
said() {
  text=$(printf '%s\n' "$1" | tail -n 2 | tr '\n' ' ' | sed 's/ *$//')
  printf '%s' "${text:-$2}"
}

# Which version runs on a machine, and whether it is well. What is wrong is said in $reason.
look() {
  # --health fails when no daemon runs, when a rule is not served, and when it gives no answer.
  status=$(on "$1" "$GRACE status --health" 2>&1) || { reason="is not well: $(said "$status" "\"$GRACE status --health\" failed and said nothing")" && return 1; }
  running=$(printf '%s\n' "$status" | awk '$1 == "version" { print $2; exit }')
  dir=$(printf '%s\n' "$status" | awk '$1 == "state" && $2 == "dir" { print substr($0, index($0, $3)); exit }')
  ready=$(on "$1" "cat '$dir/ready'" 2>&1) || { reason="is not to get connections: $(said "$ready" "cannot read $dir/ready")" && return 1; }
  [ "$ready" -gt 0 ] || { reason="is not to get connections: $dir/ready says $ready" && return 1; }
  [ -z "$CHECK" ] || answer=$(sh -c "$CHECK" check "$1" 2>&1) || { reason="connections do not go through: $(said "$answer" 'CHECK failed and said nothing')" && return 1; }
}

# What to do, for whoever is woken by this. done and left are lists of machines.
stop() {
  {
    printf 'upgrade-all.sh: %s: %s\n' "$1" "$2"
    printf 'of version %s:%s; not touched:%s\n' "$version" "${done:- none}" "${left:- none}"
    [ $# -lt 3 ] || printf 'hint: %s\n' "$3"
  } >&2
  exit 1
}

# Nothing is begun while one is not well already: with two out of order it is too late to learn so.
done='' left=''
for host; do
  look "$host" || {
    printf 'upgrade-all.sh: %s: %s\nhint: nothing was begun; mend that machine, or leave it out\n' "$host" "$reason" >&2
    exit 1
  }
  if [ "$running" = "$version" ]; then done="$done $host"; else left="$left $host"; fi
  [ -z "$dry" ] || [ "$running" = "$version" ] || echo "$host: $running -> $version"
  [ "$running" != "$version" ] || echo "$host: has $version"
done
[ -z "$dry" ] || exit 0

for host in $left; do
  look "$host" || stop "$host" "$reason" 'it was well a while ago, and was not touched'
  left=${left#" $host"}
  before=$running
  # Whoever was ended between the two has put the file there already.
  installed=$(on "$host" "$GRACE --version" | awk '$1 == "grace" { print $2; exit }')
  if [ "$installed" = "$version" ]; then how="$GRACE restart"; else how=$UPGRADE; fi
  on "$host" "$how" || stop "$host" "\"$how\" failed" "grace upgrade leaves the old one running; see what $host has: $GRACE status"
  looks=0
  while [ "$looks" -lt "$LOOKS" ]; do
    [ "$looks" -eq 0 ] || sleep 1
    back="back to the version before, on $host: $GRACE upgrade --to $before; when it is well, this command again goes on"
    look "$host" || stop "$host" "$reason" "$back"
    [ "$running" = "$version" ] || stop "$host" "$running runs there, not $version" "$back"
    looks=$((looks + 1))
  done
  done="$done $host"
  echo "$host: $before -> $version"
done
