# The commands of the README. Each calls `setup` first, which is quick when nothing is missing.
CACHE := $(or $(TRIMARAN_CACHE),$(HOME)/.cache/trimaran)
export TRIMARAN_CACHE := $(CACHE)
# One target directory for all clones keeps dependencies compiled; it is safe to lose.
export CARGO_TARGET_DIR ?= $(CACHE)/target
# RocksDB compiled once by `setup`; without these variables cargo compiles it itself.
export ROCKSDB_LIB_DIR ?= $(CACHE)/rocksdb-11.8.1/lib
export ROCKSDB_STATIC ?= 1
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS ?= -Clink-arg=-fuse-ld=mold
export PATH := $(CACHE)/tools/bin:$(PATH)

.PHONY: setup setup-build build demo demo-flink demo-kubernetes test bench lint audit package

setup:
	@ops/setup/setup.sh

# What a build needs, without the tools of the lints.
setup-build:
	@ops/setup/setup.sh build

build: setup-build
	cargo build --locked --workspace --bins

demo: setup-build
	@cargo build --locked --workspace --bins
	@"$(CARGO_TARGET_DIR)/debug/trimaran-demo"

# A stateful job on a real Flink cluster, which is set up when it is not there (about a minute, 340 MB in the cache).
demo-flink: setup-build
	@cargo build --locked --workspace --bins
	@"$(CARGO_TARGET_DIR)/debug/trimaran-demo-flink"

# A service in two real clusters, which are built when they never were on this machine (see tests/env/kubernetes).
demo-kubernetes: setup-build
	@cargo build --locked --workspace --bins
	@"$(CARGO_TARGET_DIR)/debug/trimaran-demo-kubernetes"

lint: setup
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --locked check bans licenses sources
	cargo xtask tidy

test: lint
	cargo build --locked --workspace --all-targets
	cargo xtask test
	cargo test --locked --workspace --doc
	"$(CARGO_TARGET_DIR)/debug/trimaran-demo"
	"$(CARGO_TARGET_DIR)/debug/trimaran-demo-flink"
	cargo xtask leftovers

bench: setup-build
	cargo build --locked --release --workspace --bins
	"$(CARGO_TARGET_DIR)/release/trimaran-bench"

# Debian packages of the programs, stripped, below the target directory.
package: setup-build
	cargo build --locked --release -p trimaran-coordinator -p trimaran-agent -p trimaran
	cargo xtask package "$(CARGO_TARGET_DIR)/release" "$(CARGO_TARGET_DIR)/package"

audit: setup
	cargo deny check advisories
