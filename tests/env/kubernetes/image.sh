#!/usr/bin/env bash
# image.sh NAME PROGRAM FILE [KEY=VALUE]…: writes FILE, an OCI image archive called NAME that holds one static program
# and runs it with this environment. The same input gives the same digest. `ctr images import FILE` loads it.
set -euo pipefail
name=$1 program=$2 file=$3; shift 3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
blobs=$work/image/blobs/sha256
mkdir -p "$blobs" "$work/files/tmp" "$work/files/etc"

# add FILE: moves it among the blobs; `digest` and `size` are then its own.
add() {
  digest=$(sha256sum "$1" | cut -d' ' -f1); size=$(stat -c %s "$1")
  mv "$1" "$blobs/$digest"
}
descriptor() { printf '{"mediaType": "application/vnd.oci.image.%s+json", "digest": "sha256:%s", "size": %s' "$1" "$digest" "$size"; }

chmod 1777 "$work/files/tmp"
install -m 755 "$program" "$work/files/program"
echo 'service:x:65534:65534::/:/none' >"$work/files/etc/passwd"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$work/layer" -C "$work/files" .
add "$work/layer"
layer=$(printf '{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:%s", "size": %s}' "$digest" "$size")
environment='"PATH=/"'
for pair in "$@"; do environment="$environment, \"$pair\""; done
cat >"$work/config" <<JSON
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]},
 "config": {"Entrypoint": ["/program"], "WorkingDir": "/", "Env": [$environment]}}
JSON
add "$work/config"
printf '{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": %s}, "layers": [%s]}' \
  "$(descriptor config.v1)" "$layer" >"$work/manifest"
add "$work/manifest"
printf '{"schemaVersion": 2, "manifests": [%s, "annotations": {"io.containerd.image.name": "%s", "org.opencontainers.image.ref.name": "%s"}}]}' \
  "$(descriptor manifest.v1)" "$name" "${name##*:}" >"$work/image/index.json"
printf '{"imageLayoutVersion": "1.0.0"}' >"$work/image/oci-layout"
tar -cf "$file" -C "$work/image" .
