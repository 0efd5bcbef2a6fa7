# The commands of this workspace. `make` alone lists them. Everything that is built or fetched lands in target/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench soak conformance interop mutants tools
MAKEFLAGS += --no-print-directory

export TRUST_TOOLS := $(CURDIR)/target/tools
# Where cargo puts the programs.
BUILT := $(or $(CARGO_TARGET_DIR),target)
# On a machine that only checks, the lock file is taken as it is.
LOCKED := $(if $(filter true,$(CI)),--locked)
# The size of the soak: kills, seeds, mutations.
N ?= 20000

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the story from end to end: registry, server, signer and real images, on loopback (KEEP=1 leaves it running)
	@echo "==> tools"
	@tests/tools/fetch.sh
	@echo "==> build"
	@cargo build $(LOCKED) -p trust -p trust-server -p trust-signer -p trust-gate -p trust-containerd-verifier \
	    -p trust-tests --bin trust --bin trust-server --bin trust-signer --bin trust-gate \
	    --bin trust-containerd-verifier --bin trust-demo
	@echo "==> demo"
	@KEEP=$(KEEP) $(BUILT)/debug/trust-demo

test: ## every test; fetches the programs they need, and ends with the totals
	@tests/tools/test.sh

lint: ## format, clippy, cargo deny (where it is installed), and what no tool knows
	@tests/tools/lint.sh

bench: ## figures beside their floors, never a verdict
	@echo "==> tools"
	@tests/tools/fetch.sh
	@echo "==> build (release)"
	@cargo build $(LOCKED) --release -p trust -p trust-server -p trust-signer -p trust-gate -p trust-tests \
	    --bin trust --bin trust-server --bin trust-signer --bin trust-gate --bin trust-bench
	@echo "==> bench"
	@$(BUILT)/release/trust-bench

soak: ## the tests named *soak* with large numbers: make soak N=20000
	@echo "==> tools"
	@tests/tools/fetch.sh
	@tests/tools/engine.sh
	@echo "==> soak, N=$(N)"
	@SOAK=$(N) cargo test $(LOCKED) --workspace soak -- --nocapture 2>&1 | tee target/soak.log
	@grep -q '^test result: ok. [1-9]' target/soak.log || { echo "failed: no test has soak in its name"; exit 1; }

conformance: ## the public TUF conformance suite, ten times in a row: TUF_CONFORMANCE=DIR make conformance
	@tests/tools/conformance.sh

interop: ## the gates against kube-apiserver, containerd, registries and helm, built from Go modules (docs/interop.md)
	@echo "==> tools"
	@tests/tools/fetch.sh
	@echo "==> counterparts (built once: half an hour, and 8 GB on the way)"
	@mkdir -p target/interop
	@tests/tools/interop.sh >target/interop/built
	@echo "==> build"
	@cargo build $(LOCKED) -p trust -p trust-server -p trust-signer -p trust-gate -p trust-containerd-verifier \
	    -p trust-tests --bin trust --bin trust-server --bin trust-signer --bin trust-gate \
	    --bin trust-containerd-verifier --bin trust-interop
	@echo "==> interop"
	@KEEP=$(KEEP) $(BUILT)/debug/trust-interop target/interop/built

mutants: ## mutation testing of the verification rules (hours): what survives must be in docs/mutants.md
	@tests/tools/mutants.sh

tools: ## docker-registry, skopeo, a Docker Engine, faketime and python-tuf below target/tools; nothing is installed
	@echo "==> tools"
	@tests/tools/fetch.sh
	@tests/tools/engine.sh
	@tests/tools/python.sh
