#!/usr/bin/env bash
# Starts a session cluster on loopback and prints its URL when it answers and all TaskManagers are registered.
# Processes that run already are kept.
#
#   start.sh [all | zookeeper | jobmanager | taskmanager N]
#
# Settings: FLINK_VERSION (2.3.0), FLINK_REST_PORT (18081; +1 is RPC, +2 to +4 ZooKeeper), FLINK_RUN_DIR,
# FLINK_TASK_MANAGERS (2), FLINK_SLOTS (4 each), FLINK_HA=1 (ZooKeeper: jobs survive the JobManager), FLINK_EXTRA (lines).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
[ -f "$distribution/complete" ] || fail "Flink $version is not there: run $here/setup.sh"
mkdir -p "$run"/{conf,log,pid,tmp,upload,checkpoints,savepoints,ha,zookeeper}
# What the JVM must open for Flink, as its own configuration has it.
opens="$(sed -n 's/^ *all: //p' "$distribution/conf/config.yaml" | head -1)"

# A loaded machine takes long to start three JVMs; one that died is said at once.
end=$(($(date +%s) + ${FLINK_START_TIMEOUT:-120}))
# What a process has said of its end; the log may be gone together with the test.
last_words() {
  local said
  said="$(grep -hE 'ERROR|FATAL|Caused by' "$1.log" 2>/dev/null | tail -n 8)" || true
  printf '%s\n' "${said:-$(tail -n 3 "$1.out")}"
}
# With high availability a JobManager that died between the end of a job and the clean-up behind it may never start again: 2.3.0
# refuses every mark that a job has ended, and any version one that was half written. This does what a person has to do then:
# the mark goes, so that the job begins again.
unblock_jobmanager() {
  [ "$ha" = 1 ] && [ -z "${unblocked:-}" ] || return 1
  grep -qsE 'dispatcher.Dispatcher.onStart\(|Could not retrieve JobResults' "$run/log/jobmanager.log" || return 1
  compgen -G "$run/ha/job-result-store/*/*_DIRTY.json" >/dev/null || return 1
  say "the JobManager refuses to start beside a job that has just ended: its mark is taken away"
  rm -f "$run"/ha/job-result-store/*/*_DIRTY.json
  unblocked=1
  start_jobmanager
}
check_processes() {
  local file
  for file in "$run"/pid/*; do
    is_running "$file" || { [ "$(basename "$file")" = jobmanager ] && unblock_jobmanager; } || fail "$(basename "$file") ended: $(last_words "$run/log/$(basename "$file")") (see $run/log)"
  done
}
wait_a_moment() { # wait_a_moment WHAT
  check_processes
  [ "$(date +%s)" -lt "$end" ] || fail "no answer from $1: see $run/log"
  sleep 0.1
}

configure() {
  cp -n "$distribution"/conf/log4j*.properties "$run/conf/" 2>/dev/null || true
  {
    cat <<LINES
env.java.opts.all: "$opens"
jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: $((port + 1))
jobmanager.bind-host: 127.0.0.1
jobmanager.memory.heap.size: 256m
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: $port
taskmanager.bind-host: 127.0.0.1
taskmanager.host: 127.0.0.1
taskmanager.numberOfTaskSlots: $slots
parallelism.default: 1
io.tmp.dirs: $run/tmp
web.upload.dir: $run/upload
execution.checkpointing.dir: file://$run/checkpoints
execution.checkpointing.savepoint-dir: file://$run/savepoints
state.checkpoints.dir: file://$run/checkpoints
state.savepoints.dir: file://$run/savepoints
execution.checkpointing.num-retained: 3
execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 2147483647
restart-strategy.fixed-delay.delay: 1 s
slot.request.timeout: 10000
metrics.fetcher.update-interval: 2000
web.refresh-interval: 1000
cluster.registration.error-delay: 500 ms
cluster.registration.initial-timeout: 500 ms
heartbeat.interval: 2000
heartbeat.timeout: 10000
LINES
    if [ "$ha" = 1 ]; then
      cat <<LINES
high-availability.type: zookeeper
high-availability.zookeeper.quorum: 127.0.0.1:$((port + 2))
high-availability.zookeeper.client.session-timeout: 4000
high-availability.zookeeper.client.connection-timeout: 2000
high-availability.storageDir: file://$run/ha
high-availability.cluster-id: /trimaran-$port
high-availability.jobmanager.port: $((port + 1))
LINES
    fi
    [ -z "$extra" ] || printf '%s\n' "$extra"
  } >"$run/conf/config.yaml"
  cat >"$run/conf/zoo.cfg" <<LINES
tickTime=500
dataDir=$run/zookeeper
clientPort=$((port + 2))
clientPortAddress=127.0.0.1
admin.enableServer=false
server.1=127.0.0.1:$((port + 3)):$((port + 4))
LINES
}

launch() { # launch NAME JVM-OPTION… -- CLASS ARGUMENT…
  local name=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  if is_running "$run/pid/$name"; then return; fi
  # shellcheck disable=SC2086 # `opens` is a list of options.
  FLINK_LIB_DIR="$distribution/lib" FLINK_PLUGINS_DIR="$distribution/plugins" FLINK_OPT_DIR="$distribution/opt" \
    setsid nohup java "${options[@]}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MaxMetaspaceSize=256m $opens \
    -Dlog.file="$run/log/$name.log" -Dlog4j.configurationFile="file:$run/conf/log4j.properties" \
    -Djava.io.tmpdir="$run/tmp" -cp "$distribution/lib/*" "$@" >"$run/log/$name.out" 2>&1 </dev/null 9>&- &
  echo $! >"$run/pid/$name"
}

start_zookeeper() {
  [ "$ha" = 1 ] || return 0
  launch zookeeper -Xmx64m -Dzookeeper.jmx.log4j.disable=true -- \
    org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer --zkConfigFile "$run/conf/zoo.cfg" --peerId 1
  # A JobManager ends when ZooKeeper comes much later than itself, as on a loaded machine.
  until listens "$((port + 2))"; do wait_a_moment "ZooKeeper"; done
}

# Whether something accepts connections there.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start_jobmanager() {
  # Another cluster would answer in the name of this one.
  if ! is_running "$run/pid/jobmanager" && listens "$port"; then fail "port $port is in use by another program"; fi
  launch jobmanager -Xms64m -Xmx256m -- \
    org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint --configDir "$run/conf" \
    --executionMode cluster
}

start_taskmanager() {
  launch "taskmanager-$1" -Xms64m -Xmx256m -XX:MaxDirectMemorySize=160m -- \
    org.apache.flink.runtime.taskexecutor.TaskManagerRunner --configDir "$run/conf" \
    -D taskmanager.resource-id="taskmanager-$1" -D taskmanager.cpu.cores="$slots" \
    -D taskmanager.memory.framework.heap.size=64m -D taskmanager.memory.task.heap.size=192m \
    -D taskmanager.memory.framework.off-heap.size=64m -D taskmanager.memory.task.off-heap.size=0b \
    -D taskmanager.memory.network.min=64m -D taskmanager.memory.network.max=64m \
    -D taskmanager.memory.managed.size=16m -D taskmanager.memory.jvm-metaspace.size=256m \
    -D taskmanager.memory.jvm-overhead.min=64m -D taskmanager.memory.jvm-overhead.max=64m
}

configure
wanted=0
case "${1:-all}" in
  zookeeper) start_zookeeper; exit 0 ;;
  jobmanager) start_jobmanager ;;
  taskmanager) start_taskmanager "${2:?which TaskManager}" ;;
  all)
    wanted=$task_managers
    start_zookeeper
    start_jobmanager
    for n in $(seq "$task_managers"); do start_taskmanager "$n"; done
    ;;
  *) fail "usage: start.sh [all | zookeeper | jobmanager | taskmanager N]" ;;
esac

until [ "$(curl -fsS -m 2 "$url/overview" 2>/dev/null | sed -n 's/.*"taskmanagers":\([0-9]*\).*/\1/p')" -ge "$wanted" ] 2>/dev/null; do
  wait_a_moment "$url with $wanted TaskManagers"
done
check_processes
echo "$url"
