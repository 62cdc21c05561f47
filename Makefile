# The commands that people and CI run. `make` lists them.

CARGO ?= cargo
CLUSTER := $(CARGO) run --locked --package restamp-test-cluster --
WITH_CLUSTER := $(CLUSTER) exec --

# What is built once for every clone, beside the control plane of the tests.
CACHE := $(or $(RESTAMP_CACHE_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/restamp)
DENY_VERSION := 0.20.2
DENY_ROOT := $(CACHE)/tools/cargo-deny-$(DENY_VERSION)
DENY := $(DENY_ROOT)/bin/cargo-deny

# Where `dev-certs` writes, and for which hosts; without any, for those of the webhook.
DEV_CERTS ?= target/dev-certs
DEV_HOSTS ?=

.DEFAULT_GOAL := help
# The steps of `test` say more in order, and cargo uses every core by itself.
.NOTPARALLEL:
.PHONY: help build demo cluster dev-certs test test-core test-unit e2e bench-admission ground fmt fmt-check lint deny doc clean needs-rust

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "demo, cluster, test and e2e use a Kubernetes control plane of their own. The first of them builds"
	@echo "it, which takes 10 to 15 minutes and shows how far it is; it is kept in $(CACHE)."

build: needs-rust ## Build the program, for release
	$(CARGO) build --locked --release --bin restamp

demo: needs-rust ## Watch Restamp at work on a real API server
	$(CARGO) build --locked --bin restamp
	$(WITH_CLUSTER) $(CARGO) run --locked --example demo

cluster: needs-rust ## Start a control plane, print its kubeconfig, and keep it until Ctrl-C
	$(CLUSTER) up --stay

dev-certs: needs-rust ## Make a CA and a serving certificate in DEV_CERTS, for DEV_HOSTS
	$(CARGO) run --locked --package restamp-dev-certs -- --out $(DEV_CERTS) $(addprefix --host ,$(DEV_HOSTS))

test: fmt-check ground lint deny test-unit e2e ## Everything that a change has to pass

test-core: needs-rust ## The tests of the pure core, in seconds
	$(CARGO) test --locked --lib stamp::

test-unit: needs-rust ## Every test that needs no cluster
	$(CARGO) test --locked --workspace

# They wait more than they compute, so more of them run at once than there are cores.
e2e: needs-rust ## The tests on a real API server, or on the cluster of E2E_KUBECONFIG
	$(WITH_CLUSTER) $(CARGO) test --locked --features e2e --test e2e -- --test-threads 6

bench-admission: needs-rust ## What the webhook adds to a CREATE (docs/benchmarks.md)
	RESTAMP_LOG_LEVEL=info $(WITH_CLUSTER) $(CARGO) bench --locked --features e2e --bench admission

# Builds the control plane unless it has been built already, so that what is missing for it is said first.
ground: needs-rust
ifndef E2E_KUBECONFIG
	$(CLUSTER) build
endif

fmt: needs-rust ## Format the code
	$(CARGO) fmt --all

fmt-check: needs-rust ## Check that the code is formatted
	$(CARGO) fmt --all -- --check

lint: needs-rust ## Clippy; every warning is an error
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings

deny: needs-rust $(DENY) ## Check dependencies: bans, licenses, sources
	$(DENY) --locked check bans licenses sources

$(DENY): | needs-rust
	@echo "Building cargo-deny $(DENY_VERSION), once; this takes about 3 minutes."
	$(CARGO) install --locked --quiet --root $(DENY_ROOT) cargo-deny --version $(DENY_VERSION)

doc: export RUSTDOCFLAGS = -D warnings
doc: needs-rust ## Build the documentation of the code
	$(CARGO) doc --locked --workspace --no-deps --document-private-items

clean: needs-rust ## Remove what cargo built; the control plane stays in its cache
	$(CARGO) clean

needs-rust:
	@command -v $(CARGO) >/dev/null || { echo "Rust is needed: install rustup (https://rustup.rs); it then takes the version in rust-toolchain.toml." >&2; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is needed, as 'cc': apt-get install build-essential, or your system's like." >&2; exit 1; }
