# Sourced by the scripts beside it: where things are, and the settings of one cluster. Every setting is an
# environment variable, so that several clusters run side by side.

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# Distributions and jars: shared by all clones, safe to lose.
cache="${TRIMARAN_CACHE:-$HOME/.cache/trimaran}/flink"
version="${FLINK_VERSION:-2.3.0}"
distribution="$cache/flink-$version"
# What one cluster writes: configuration, logs, process ids, checkpoints, savepoints, uploads.
run="${FLINK_RUN_DIR:-$cache/run/$version}"
port="${FLINK_REST_PORT:-18081}"
task_managers="${FLINK_TASK_MANAGERS:-2}"
slots="${FLINK_SLOTS:-4}"
ha="${FLINK_HA:-0}"
# Further lines of Flink's configuration.
extra="${FLINK_EXTRA:-}"
url="http://127.0.0.1:$port"

say() { printf 'flink: %s\n' "$*" >&2; }
fail() { printf 'flink: %s\n' "$*" >&2; exit 1; }
# Whether the process of a pid file runs.
is_running() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
