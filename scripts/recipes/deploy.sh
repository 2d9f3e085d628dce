#!/bin/sh
# deploy.sh COMMAND…: starts COMMAND, which is to listen on $HOST and $PORT, gives it the traffic when it is healthy, and ends
# the version before it when its last connection has ended. Exits with 5 when it is not healthy; then nothing has changed.
set -eu
: "${WEB:=8080}" "${HOST:=127.0.0.1}" "${BLUE:=9001}" "${GREEN:=9002}" "${HEALTH:=/up=200}" "${RUN:=/tmp}"
export HOST

# Which of the two serves: what the daemon says, however that was written, or what the last deploy was when no daemon runs.
status=0
rules=$(grace ls web 2>/dev/null) || status=$?
case $status in
  0) active=$(grace endpoint client "$(printf '%s\n' "$rules" | awk '$4 == "active" { print $2 }')" --json | sed -n 's/.*"port": *\([0-9]*\).*/\1/p') ;;
  3) active=$(cat "$RUN/web.active" 2>/dev/null) || active='' ;;
  *) active='' ;;
esac
case $active in
  "$BLUE") old=$BLUE PORT=$GREEN ;;
  "$GREEN") old=$GREEN PORT=$BLUE ;;
  *) old='' PORT=$BLUE ;;
esac
export PORT

# Whoever serves there already would answer the check in place of the new version.
taken=$(ss -Hltn "sport = :$PORT" 2>/dev/null | awk -v host="$HOST:" '$4 ~ /^(\*|0\.0\.0\.0|\[::\]):/ || index($4, host) == 1')
[ -z "$taken" ] || { echo "deploy.sh: somebody serves port $PORT already, a version before the last one perhaps" >&2; exit 1; }

nohup "$@" >"$RUN/web-$PORT.log" 2>&1 &
pid=$!
dst=tcp:$HOST:$PORT:retry=10s
# The first time there is nothing to switch.
grace start --switch --name web "$WEB" "$dst" --check-http "$HEALTH" || {
  status=$?
  kill "$pid" 2>/dev/null || : # it may have ended by itself
  wait "$pid" || :
  exit "$status"
}
echo "$pid" >"$RUN/web-$PORT.pid"
echo "$PORT" >"$RUN/web.active"
[ -n "$old" ] || exit 0

# A wait of its own: whatever comes of it, the new version has the traffic and must not be ended any more.
grace wait web --timeout "${PATIENCE:-5m}" || echo "deploy.sh: the version before has connections still, and ends when they have" >&2
[ -f "$RUN/web-$old.pid" ] || exit 0
before=$(cat "$RUN/web-$old.pid") looks=0
kill "$before" 2>/dev/null || :
# The next deploy wants its port.
while kill -0 "$before" 2>/dev/null && [ "$looks" -lt 100 ]; do sleep 0.1 && looks=$((looks + 1)); done
