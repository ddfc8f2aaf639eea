#!/usr/bin/env bash
# Ends processes of a cluster, by the ids that `start.sh` wrote down.
#
#   stop.sh [all | zookeeper | jobmanager | taskmanager N] [--kill] [--wipe]
#
# --kill ends at once (SIGKILL, as a crash does), --wipe removes what the cluster wrote. Settings as for start.sh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
signal=TERM wipe=0 words=()
for word in "$@"; do
  case "$word" in
    --kill) signal=KILL ;;
    --wipe) wipe=1 ;;
    *) words+=("$word") ;;
  esac
done
case "${words[0]:-all}" in
  all) names="$(ls -r "$run/pid" 2>/dev/null || true)" ;;
  taskmanager) names="taskmanager-${words[1]:?which TaskManager}" ;;
  zookeeper | jobmanager) names="${words[0]}" ;;
  *) fail "usage: stop.sh [all | zookeeper | jobmanager | taskmanager N] [--kill] [--wipe]" ;;
esac
for name in $names; do
  file="$run/pid/$name"
  if is_running "$file"; then
    pid="$(cat "$file")"
    kill -"$signal" "$pid" 2>/dev/null || true
    for _ in $(seq 100); do is_running "$file" || break; sleep 0.1; done
    if is_running "$file"; then kill -KILL "$pid" 2>/dev/null || true; fi
    until ! is_running "$file"; do sleep 0.05; done
  fi
  rm -f "$file"
done
[ "$wipe" = 0 ] || rm -rf "$run"
