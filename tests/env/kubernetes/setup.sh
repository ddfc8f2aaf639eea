#!/usr/bin/env bash
# Gets what a test cluster consists of: Debian packages, the control plane and kubelet from their Go modules, and the
# images that tests deploy. Needs root. Does nothing when all is there, so every start may call it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
. "$here/go.sh"

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9                  # several test programs may begin at once

missing=()
need() { command -v "$1" >/dev/null 2>&1 || [ -e "$1" ] || missing+=("$2"); }
need containerd containerd
need runc runc
need docker-registry docker-registry
need /usr/lib/cni/bridge containernetworking-plugins
need iptables iptables
need conntrack conntrack
need ip iproute2
need openssl openssl
if [ ${#missing[@]} -gt 0 ]; then
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # The registry's package starts a service of its own where there is an init; tests start theirs.
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

build_etcd
if [ ! -x "$programs/kube-apiserver" ]; then
  get_go
  say "building Kubernetes $kubernetes_version: about 6 minutes on two cores, never again on this machine"
  at=k8s.io/component-base/version
  minor=$(echo "$kubernetes_version" | cut -d. -f2)
  build modules/kubernetes "-X $at.gitVersion=v$kubernetes_version -X $at.gitMajor=1 -X $at.gitMinor=$minor" \
    k8s.io/kubernetes/cmd/{kubectl,kubelet,kube-proxy,kube-scheduler,kube-controller-manager,kube-apiserver}
fi
if [ ! -e "$images/done" ]; then
  get_go
  say "building the images"
  mkdir -p "$images"
  for image in pause service; do
    (cd "$here/images" && go build -ldflags "-s -w" -o "$images/$image" "./$image")
  done
  "$here/image.sh" localhost/pause:1 "$images/pause" "$images/pause.tar"
  touch "$images/done"
fi
