#!/usr/bin/env bash
# publish.sh INDEX NAME:TAG [KEY=VALUE]…: puts the service of `images/service` into the cluster's registry under this
# name, with this environment as the image's own, and prints its digest. The node does not have it until a pod pulls it.
set -euo pipefail
index=${1:?usage: publish.sh INDEX NAME:TAG [KEY=VALUE]…}
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
image=$registry/$2; shift 2
archive=$(mktemp); trap 'rm -f "$archive"' EXIT
"$here/image.sh" "$image" "$images/service" "$archive" "$@"
# A namespace of containerd that kubelet does not see.
publishing() { command ctr --address "$state/run/containerd.sock" --namespace publishing "$@"; }
publishing images import "$archive" >/dev/null
publishing images push --plain-http "$image" >/dev/null
publishing images list "name==$image" | awk 'NR == 2 { print $3 }'
publishing images remove --sync "$image" >/dev/null
