#!/usr/bin/env bash
# Compiles the demo job once and packs one jar for each variant into $TRIMARAN_CACHE/flink/jobs. The same jars run on
# 1.20 and 2.x. Does nothing when sources and this script are unchanged. A variant is the class files with other
# defaults in `job.properties`; each option can also be given as an argument `--KEY=VALUE` of the job.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
jobs="$cache/jobs"
sum="$(cat "$here"/jobs/trimaran/demo/*.java "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)"
[ "$(cat "$jobs/sum" 2>/dev/null)" = "$sum" ] && exit 0
say "compiling the demo job"
new="$jobs.new"
rm -rf "$new"
mkdir -p "$new/classes"
# The oldest distribution that is there: what it has, later ones have too.
dist="$(ls "$cache"/flink-*/lib/flink-dist-*.jar | sort -V | head -1)"
javac --release 11 -nowarn -Xlint:-options -cp "$dist" -d "$new/classes" "$here"/jobs/trimaran/demo/*.java

pack() { # pack VARIANT KEY=VALUE…
  local variant=$1 folder
  shift
  folder="$(mktemp -d)"
  cp -r "$new/classes/." "$folder"
  printf '%s\n' "version=$variant" "$@" >"$folder/job.properties"
  printf 'Main-Class: trimaran.demo.Counter\n' >"$folder/manifest"
  (cd "$folder" && jar --create --file "$new/$variant.jar" --manifest manifest trimaran job.properties)
  rm -rf "$folder"
}
pack v1
pack v2 extra-state=true                                  # a further state: compatible
pack v3 extra-state=true
pack crash fail-after=50                                  # fails after 50 records of each attempt: makes progress
pack latecrash fail-after=200                             # fails when it has made checkpoints of its own
pack poison fail-each=200                                 # fails for ever at the next record that is a multiple
pack openthrows open-throws=true                          # fails before the first record
pack badstate state-type=string                           # the same state with another serializer
pack newuid counter-uid=counter-2                         # the uid of the stateful operator is another
pack slow sleep-ms=200                                    # backpressure
pack cpfail fail-checkpoints=true                         # every snapshot fails
pack cpslow checkpoint-sleep-ms=8000 checkpoint-timeout-ms=3000   # every checkpoint expires
pack mainthrows main-throws=true
pack noexecute no-execute=true
pack slowmain main-sleep-ms=5000
pack finite records=200                                   # ends after 200 records
# Without an entry class, and no archive at all.
printf 'x=1\n' >"$new/x"
(cd "$new" && jar --create --file nomain.jar x)
head -c 4096 /dev/zero | tr '\0' '\377' >"$new/notajar.jar"
rm -r "$new/classes" "$new/x"
echo "$sum" >"$new/sum"
rm -rf "$jobs"
mv "$new" "$jobs"
