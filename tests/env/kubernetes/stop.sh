#!/usr/bin/env bash
# stop.sh INDEX: ends the cluster and removes all of it: processes, pods, mounts, network, control groups, files. Works
# on a cluster that did not start wholly, and on one that is not there.
set -uo pipefail
index=${1:?usage: stop.sh INDEX}
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

# end NAME: nothing of the cluster is kept, so nothing is asked to finish. Only the process that start.sh began is meant:
# a number alone may be another's by now.
end() {
  local file=$state/processes/$1 id
  runs "$file" || return 0
  read -r id _ <"$file"
  kill -9 "$id"
  while runs "$file"; do sleep 0.02; done
}
# Who would start pods again goes first; then the pods; then what they need to end.
for process in kubelet proxy scheduler controller-manager apiserver etcd registry; do end "$process"; done
networks=
if runs "$state/processes/containerd"; then
  for task in $(ctr tasks list -q); do ctr tasks kill -a -s SIGKILL "$task"; done >/dev/null 2>&1
  for _ in $(seq 50); do ctr tasks list | grep -q RUNNING || break; sleep 0.1; done
  for container in $(ctr containers list -q); do
    networks+=" $(ctr containers info "$container" | sed -n 's#.*"/var/run/netns/\(cni-[0-9a-f-]*\)".*#\1#p')"
    ctr tasks delete -f "$container" >/dev/null 2>&1
    ctr containers delete "$container" >/dev/null 2>&1
  done
  end containerd
fi
for network in $(tr ' ' '\n' <<<"$networks" | sort -u); do ip netns delete "$network" 2>/dev/null; done
# The shims of pods outlive containerd.
for folder in /sys/fs/cgroup/*/"$name" /sys/fs/cgroup/"$name"; do
  [ -d "$folder" ] || continue
  find "$folder" -name cgroup.procs -exec cat {} + | sort -u | while read -r id; do kill -9 "$id"; done
done 2>/dev/null
awk -v under="$state/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
ip link delete "$link" 2>/dev/null
for net in "$subnet" "$pods" "$services"; do ip route delete blackhole "$net" metric 9999 2>/dev/null; done
ip netns delete "$name" 2>/dev/null
for _ in $(seq 20); do
  find /sys/fs/cgroup -depth -type d -path "/sys/fs/cgroup/*$name*" -exec rmdir {} + 2>/dev/null
  [ -n "$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$name")" ] || break
  sleep 0.1
done
rm -rf "$state"
