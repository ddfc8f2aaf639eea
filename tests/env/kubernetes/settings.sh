# Names, addresses and places of the test clusters; sourced by the scripts beside it, after `index` is set where a
# cluster is meant. Cluster N (0 to 15) is one node in a network namespace of its own, joined to the host by one link.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# The one place of each version is the Go module that pins it.
kubernetes_version=$(sed -n 's/^require k8s.io\/kubernetes v//p' "$here/modules/kubernetes/go.mod")
etcd_version=$(sed -n 's/^require go.etcd.io\/etcd\/server\/v3 v//p' "$here/modules/etcd/go.mod")

cache="${TRIMARAN_CACHE:-$HOME/.cache/trimaran}/kubernetes"   # what was built; safe to lose
programs=$cache/kubernetes-$kubernetes_version-etcd-$etcd_version
# Images are made again when their source changes.
images=$cache/images-$(cat "$here"/images/*/main.go "$here/image.sh" | sha256sum | cut -c1-12)
clusters=/var/tmp/trimaran-kubernetes                        # running clusters, one folder each

if [ -n "${index:-}" ]; then
  name=cell-$index                                           # of node, network namespace and control group
  state=$clusters/$name
  link=cell$index                                            # the host's end of the link
  subnet=10.201.$index.0/24
  host_ip=10.201.$index.1
  node_ip=10.201.$index.2
  pods=10.244.$((index * 4)).0/22
  services=10.96.$((index * 4)).0/22
  api_service_ip=10.96.$((index * 4)).1
  registry=$host_ip:5000
fi

say() { printf 'kubernetes: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
inside() { nsenter --net="/run/netns/$name" "$@"; }          # not `ip netns exec`: that hides pod volumes from containerd
ctr() { command ctr --address "$state/run/containerd.sock" --namespace k8s.io "$@"; }
# When a process began, in ticks since boot: with its id it names a process for ever. One that has ended has none.
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }
# Whether the process of a file with "ID BEGAN" still runs.
runs() { local id since; read -r id since <"$1" 2>/dev/null && [ -n "$since" ] && [ "$(began "$id")" = "$since" ]; }
