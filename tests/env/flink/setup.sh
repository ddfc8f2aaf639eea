#!/usr/bin/env bash
# Makes what a test cluster needs, once for all clones: Java 17, Flink's distributions, and the jars of the demo job.
# Does nothing when everything is there. Needs root or sudo only for a missing Java.
#
#   setup.sh [VERSION…]        default: 1.20.5 2.3.0
#
# A distribution is put together from two Python packages of the same version: `apache-flink-libraries` has Flink's
# jars, the wheel of `apache-flink` has `bin` and `conf`. Only the jars that a session cluster with the demo job needs
# are kept: 127 and 206 MB instead of half a gigabyte.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
versions=("$@")
[ "${#versions[@]}" -gt 0 ] || versions=(1.20.5 2.3.0)
mkdir -p "$cache"
# Two set-ups at once would write the same files.
exec 9>"$cache/setup.lock"
flock 9

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
missing=()
command -v javac >/dev/null 2>&1 || missing+=(openjdk-17-jdk-headless)
command -v curl >/dev/null 2>&1 || missing+=(curl)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
if [ "${#missing[@]}" -gt 0 ]; then
  say "installing Debian packages: ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

for v in "${versions[@]}"; do
  to="$cache/flink-$v"
  [ -f "$to/complete" ] && continue
  say "fetching Flink $v (about 240 MB, once)"
  rm -rf "$to" "$cache/download-$v"
  mkdir -p "$to" "$cache/download-$v"
  python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$cache/download-$v" "apache-flink==$v"
  # The libraries come as a source archive; pip reads its metadata and builds nothing.
  python3 -m pip download --quiet --no-deps --dest "$cache/download-$v" "apache-flink-libraries==$v"
  python3 "$here/unpack.py" "$cache/download-$v" "$to"
  [ -f "$to/lib/flink-dist-$v.jar" ] || fail "the package of Flink $v has no lib/flink-dist-$v.jar"
  rm -rf "$cache/download-$v"
  touch "$to/complete"
done

"$here/build-jobs.sh"
