#!/bin/sh
# render.sh VALUES FILE: makes FILE, rules of grace, of VALUES, and has it applied: what confd and consul-template do, in their order.
# VALUES has a line a rule, `NAME SRC DST`; to be replaced by whatever asks your registry. A file that is wrong stays beside FILE as
# FILE.bad, and nothing changes. Exit codes are those of `grace apply`.
set -eu
[ $# -eq 2 ] || { echo 'usage: [APPLY=no] render.sh VALUES FILE
  VALUES  a line a rule: NAME SRC DST
  FILE    rules of grace that are made of them, and applied unless APPLY=no
  grace finds its state dir as ever: GRACE_DIR, or else ~/.grace' >&2 && exit 2; }
values=$1 file=$2
new=$(mktemp "$file.XXXXXX") # in the same directory, so that mv is a rename: whoever reads FILE finds all of it
trap 'rm -f "$new"' EXIT

awk 'BEGIN { print "rules:" }
  /^#/ || NF == 0 { next }
  { printf "  - { name: \"%s\", src: \"%s\", dst: \"%s\" }\n", $1, $2, $3 }' "$values" >"$new"

# A registry that does not answer looks like one without entries, and an empty list would stop every rule.
grep -q src: "$new" || { echo "render.sh: no rules in $values: $file is left as it is" >&2 && exit 1; }
status=0
grace apply --dry-run "$new" >/dev/null || status=$?
[ "$status" -eq 0 ] || { mv "$new" "$file.bad" && echo "render.sh: that is $file.bad; $file is left as it is" >&2 && exit "$status"; }
chmod 644 "$new"
mv "$new" "$file"
[ "${APPLY:-yes}" = no ] || grace apply "$file" # APPLY=no: for a grace that follows FILE by itself (apply --watch)
