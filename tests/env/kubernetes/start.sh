#!/usr/bin/env bash
# start.sh [INDEX] [OWNER]: starts a cluster of one node as root, with a registry of images beside it, and returns when
# the node is ready. Prints `index=…`, `kubeconfig=…`, `registry=…`, `kubectl=…`, one a line; the rest goes to stderr and the logs.
#
# Without INDEX the first free one of 0 to 15. OWNER is the process that uses the cluster (default: the caller). A
# cluster whose owner has ended is in no one's use: whoever needs its index stops it first.
# Processes of the cluster live in its network namespace; from the host, node, pods and services can be reached.
set -euo pipefail
owner=${2:-$PPID}
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

# claim INDEX: makes the folder of the cluster ours, or fails.
claim() {
  local folder=$clusters/cell-$1
  mkdir -p "$clusters"
  if mkdir "$folder" 2>/dev/null; then return 0; fi
  # What has no owner yet is being claimed by another.
  [ -s "$folder/owner" ] && ! runs "$folder/owner" || return 1
  say "cluster $1 was left behind: stopping it"
  "$here/stop.sh" "$1" && mkdir "$folder" 2>/dev/null
}
if [ -n "${1:-}" ]; then
  claim "$1" || fail "cluster $1 is in use; stop it with stop.sh $1, or leave the index out to get a free one"
  index=$1
else
  for index in $(seq 0 15) none; do
    [ "$index" != none ] || fail "all 16 clusters are in use: see $clusters"
    ! claim "$index" || break
  done
fi
. "$here/settings.sh"
printf '%s %s\n' "$owner" "$(began "$owner")" >"$state/owner"
mkdir -p "$state"/{certificates,log,run,processes,kubelet,containerd,cni,registry}
mkdir -m 700 "$state/etcd"
trap 'say "cluster $index did not start; its logs are in $state/log"' ERR

await() { # await SECONDS WHAT COMMAND…
  local until=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || { say "not there in time: $what; see $state/log"; return 1; }
    sleep 0.1
  done
}
# launch WHERE NAME COMMAND…: in a session of its own; what stop.sh needs to end it, and nothing else, is kept.
launch() {
  local where=$1 what=$2; shift 2
  local command=("$@")
  [ "$where" = host ] || command=(nsenter "--net=/run/netns/$name" "$@")
  setsid "${command[@]}" >"$state/log/$what" 2>&1 </dev/null &
  local id=$!
  printf '%s %s\n' "$id" "$(began "$id")" >"$state/processes/$what"
}
kubectl() { "$programs/kubectl" --kubeconfig "$state/admin.kubeconfig" "$@"; }

# ---- network: everything of the cluster goes over one link
ip netns add "$name"
ip link add "$link" type veth peer name eth0 netns "$name"
ip address add "$host_ip/24" dev "$link"
ip link set "$link" up
ip -n "$name" address add "$node_ip/24" dev eth0
ip -n "$name" link set eth0 up
ip -n "$name" link set lo up
ip -n "$name" route add default via "$host_ip"
# When the link goes, its routes go too, and packets for the cluster would leave this machine by the default route.
for net in "$subnet" "$pods" "$services"; do ip route replace blackhole "$net" metric 9999; done
for net in "$pods" "$services"; do ip route add "$net" via "$node_ip"; done
inside sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'

# ---- identities: one authority; names and groups are those that Kubernetes gives its components
certificates=$state/certificates
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$name" \
  -keyout "$certificates/ca.key" -out "$certificates/ca.crt" 2>/dev/null
certify() { # certify FILE SUBJECT EXTENSION
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" \
    -keyout "$certificates/$1.key" -out "$certificates/$1.csr" 2>/dev/null
  openssl x509 -req -in "$certificates/$1.csr" -CA "$certificates/ca.crt" -CAkey "$certificates/ca.key" \
    -set_serial "0x$(openssl rand -hex 8)" -days 30 -extfile <(echo "$3") -out "$certificates/$1.crt" 2>/dev/null
}
client() { # client NAME SUBJECT: a certificate and the kubeconfig that holds it
  certify "$1" "$2" extendedKeyUsage=clientAuth
  cat >"$state/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: $name
contexts: [{name: $name, context: {cluster: $name, user: $1}}]
clusters:
- name: $name
  cluster: {server: "https://$node_ip:6443", certificate-authority-data: "$(base64 -w0 "$certificates/ca.crt")"}
users:
- name: $1
  user:
    client-certificate-data: "$(base64 -w0 "$certificates/$1.crt")"
    client-key-data: "$(base64 -w0 "$certificates/$1.key")"
YAML
}
certify apiserver /CN=kube-apiserver \
  "subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$node_ip,IP:$api_service_ip"
certify kubelet-server "/CN=$name" "subjectAltName=DNS:$name,IP:$node_ip"
certify kubelet-client /O=system:masters/CN=apiserver extendedKeyUsage=clientAuth
client admin /O=system:masters/CN=admin
client controller-manager /CN=system:kube-controller-manager
client scheduler /CN=system:kube-scheduler
client proxy /CN=system:kube-proxy
client kubelet "/O=system:nodes/CN=system:node:$name"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$certificates/accounts.key" 2>/dev/null
openssl pkey -in "$certificates/accounts.key" -pubout -out "$certificates/accounts.pub"

# ---- control plane
launch cluster etcd "$programs/etcd" --name "$name" --data-dir "$state/etcd" --log-level error --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
  --initial-cluster "$name=http://127.0.0.1:2380"
# What agents ask is written down: those of service accounts which are not the cluster's own.
cat >"$state/audit.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
- {level: Metadata, userGroups: ["system:serviceaccounts"]}
- {level: None}
YAML
launch cluster apiserver "$programs/kube-apiserver" --etcd-servers http://127.0.0.1:2379 \
  --bind-address 0.0.0.0 --secure-port 6443 --advertise-address "$node_ip" --service-cluster-ip-range "$services" \
  --tls-cert-file "$certificates/apiserver.crt" --tls-private-key-file "$certificates/apiserver.key" \
  --client-ca-file "$certificates/ca.crt" --authorization-mode Node,RBAC --allow-privileged \
  --kubelet-client-certificate "$certificates/kubelet-client.crt" \
  --kubelet-client-key "$certificates/kubelet-client.key" --kubelet-preferred-address-types InternalIP \
  --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$certificates/accounts.pub" \
  --service-account-signing-key-file "$certificates/accounts.key" --profiling=false \
  --audit-policy-file "$state/audit.yaml" --audit-log-path "$state/log/audit"
await 120 kube-apiserver kubectl get --raw /readyz
launch cluster controller-manager "$programs/kube-controller-manager" --leader-elect=false \
  --kubeconfig "$state/controller-manager.kubeconfig" --bind-address 127.0.0.1 --root-ca-file "$certificates/ca.crt" \
  --service-account-private-key-file "$certificates/accounts.key" --use-service-account-credentials \
  --allocate-node-cidrs=false --node-monitor-grace-period 20s --horizontal-pod-autoscaler-sync-period 5s
launch cluster scheduler "$programs/kube-scheduler" --kubeconfig "$state/scheduler.kubeconfig" --leader-elect=false \
  --bind-address 127.0.0.1

# ---- node
# No pod finds a nameserver: a name that is looked up fails at once.
echo nameserver 127.0.0.1 >"$state/resolv.conf"
for group in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
  [ -f "$group/cgroup.procs" ] || continue
  mkdir -p "$group/$name"
  for file in cpuset.cpus cpuset.mems; do
    [ ! -f "$group/$file" ] || [ -s "$group/$name/$file" ] || cat "$group/$file" >"$group/$name/$file"
  done
done
cat >"$state/containerd.toml" <<TOML
version = 2
root = "$state/containerd"
state = "$state/run/containerd"
[grpc]
  address = "$state/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_tcp_service = true
  # Root of a container often can't lower it; each pod would fail.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
TOML
# A registry's own name as its only endpoint, so that what it says reaches the pod's status; those of other clusters are
# reached as well.
for other in $(seq 0 15); do
  cat >>"$state/containerd.toml" <<TOML
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."10.201.$other.1:5000"]
    endpoint = ["http://10.201.$other.1:5000"]
TOML
done
cat >"$state/cni/pods.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$state/run/cni", "ranges": [[{"subnet": "$pods"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
cat >"$state/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: "$certificates/ca.crt"}}
authorization: {mode: AlwaysAllow}
tlsCertFile: "$certificates/kubelet-server.crt"
tlsPrivateKeyFile: "$certificates/kubelet-server.key"
cgroupDriver: cgroupfs
cgroupRoot: /$name
containerRuntimeEndpoint: unix://$state/run/containerd.sock
volumePluginDir: "$state/run/volume-plugins"
podLogsDir: "$state/log/pods"
resolvConf: "$state/resolv.conf"
failSwapOn: false
serializeImagePulls: false
registryPullQPS: 0
# Zero would not mean without limit.
eventRecordQPS: 200
eventBurst: 400
kubeAPIQPS: 200
kubeAPIBurst: 400
maxPods: 500
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
YAML
cat >"$state/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: $name
clientConnection: {kubeconfig: "$state/proxy.kubeconfig"}
conntrack: {maxPerCore: 0}
YAML
cat >"$state/registry.yaml" <<YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: "$state/registry"}}
http: {addr: "$registry"}
YAML
launch host registry docker-registry serve "$state/registry.yaml"
launch cluster containerd containerd --config "$state/containerd.toml"
await 60 containerd ctr version
ctr images import "$images/pause.tar" >/dev/null
launch cluster kubelet "$programs/kubelet" --config "$state/kubelet.yaml" --kubeconfig "$state/kubelet.kubeconfig" \
  --root-dir "$state/kubelet" --hostname-override "$name" --node-ip "$node_ip"
launch cluster proxy "$programs/kube-proxy" --config "$state/proxy.yaml"
is_ready() { kubectl get node "$name" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' | grep -q True; }
await 120 "node $name" is_ready
await 60 "the default service account" kubectl -n default get serviceaccount default
say "cluster $index is ready after $SECONDS s"
printf '%s\n' "index=$index" "kubeconfig=$state/admin.kubeconfig" "registry=$registry" "kubectl=$programs/kubectl"
