#!/usr/bin/env bash
# Gets etcd, its load generator and a client that writes without a pause; prints the folder that has them. Does nothing
# else when all is there. Clusters of it are started by `trimaran_test_env::etcd`.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
. "$here/go.sh"

if [ ! -x "$programs/etcd" ] || [ ! -x "$programs/benchmark" ] || [ ! -x "$programs/writes" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9                # the one of `setup.sh`: both build in one place, and clean it
  build_etcd
  build_etcd_clients
fi
echo "$programs"
