#!/usr/bin/env bash
# partition.sh INDEX cut [in|out] | heal: drops all packets between host and cluster, or those of one direction as the
# cluster sees it. Connections hang as on a dead link; none is refused. Pods and node still reach each other.
set -euo pipefail
usage() { echo "usage: partition.sh INDEX cut [in|out] | heal" >&2; exit 2; }
index=${1:-}; [ -n "$index" ] || usage
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
rule() { inside iptables -w "$1" "$2" "$3" eth0 -j DROP; }
heal() {
  while rule -D INPUT -i 2>/dev/null; do :; done
  while rule -D OUTPUT -o 2>/dev/null; do :; done
  while rule -D FORWARD -i 2>/dev/null; do :; done
  while rule -D FORWARD -o 2>/dev/null; do :; done
}
cut_in() { rule -I INPUT -i; rule -I FORWARD -i; }
cut_out() { rule -I OUTPUT -o; rule -I FORWARD -o; }
case "${2:-} ${3:-}" in
  "cut ") heal; cut_in; cut_out ;;
  "cut in") heal; cut_in ;;
  "cut out") heal; cut_out ;;
  "heal ") heal ;;
  *) usage ;;
esac
