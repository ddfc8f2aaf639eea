//go:build tools

// etcd's own load generator, so that go.mod and go.sum pin all it is made of.
package etcdbenchmark

import _ "go.etcd.io/etcd/v3/tools/benchmark"
