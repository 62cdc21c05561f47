# The commands that people and CI run. `make` lists them.

CARGO ?= cargo
CLUSTER := $(CARGO) run --locked --package restamp-test-cluster --
WITH_CLUSTER := $(CLUSTER) exec --

# What is built once for every clone, beside the control plane of the tests.
CACHE := $(or $(RESTAMP_CACHE_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/restamp)
DENY_VERSION := 0.20.2
DENY_ROOT := $(CACHE)/tools/cargo-deny-$(DENY_VERSION)
DENY := $(DENY_ROOT)/bin/cargo-deny

# The linters of scripts and workflows. The mark is made when all of them are there.
PYTHON ?= python3
GO ?= go
ACTIONLINT_VERSION := 1.7.12
LINT_REQUIREMENTS := scripts/lint-requirements.txt
LINT_ROOT := $(CACHE)/tools/lint-$(ACTIONLINT_VERSION)-$(firstword $(shell cksum < $(LINT_REQUIREMENTS)))
LINT_MARK := $(LINT_ROOT)/complete
SHELL_SCRIPTS = $(shell awk 'FNR == 1 && /^\#!.*sh$$/ { print FILENAME }' .ci/* scripts/*)

# How much `fuzz` does: cases for each property, and histories for each simulation. Every second starts with others.
FUZZ_CASES ?= 10000
FUZZ_HISTORIES ?= 50
FUZZ_FIRST := $(shell date +%s)

# What `image` makes. Its RUSTFLAGS make the program static, pack its relocations, and keep the paths of this machine out.
IMAGE := restamp:dev
IMAGE_DIR := target/image
IMAGE_FILE := $(IMAGE_DIR)/restamp.tar
IMAGE_TOOL ?= $(notdir $(firstword $(shell command -v buildah) $(shell command -v docker)))
IMAGE_TARGET = $(shell rustc --print host-tuple)
IMAGE_RUSTFLAGS = -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs --remap-path-prefix=$(CURDIR)=/restamp \
	--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo \
	--remap-path-prefix=$(shell rustc --print sysroot)/lib/rustlib/src/rust=/rustc/$(shell rustc --verbose --version | awk '/^commit-hash/ { print $$2 }')
IMAGE_ARGS = --tag $(IMAGE) --iidfile $(IMAGE_DIR)/id --build-arg REVISION=$(shell git rev-parse HEAD) \
	--build-arg VERSION=$(lastword $(subst \#, ,$(subst @, ,$(shell $(CARGO) pkgid --package restamp))))
# The time of everything in it.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)

# The same once more, in another folder, to compare them.
IMAGE_AGAIN := $(IMAGE_DIR)/again

# What pods of tests run on real nodes; the first keeps the namespaces of each open.
TOOLS_DIR := $(IMAGE_DIR)/tools
TOOLS_IMAGES := pause:restamp app:1 app:2
# The image as of another version, to upgrade to.
NEXT_IMAGE := restamp:next
TOOLS_FILES := $(foreach name,$(TOOLS_IMAGES) $(NEXT_IMAGE),$(TOOLS_DIR)/$(subst :,-,$(name)).tar)
# Runs commands where there can be real nodes. Where there should be, but what they need cannot be installed, it fails.
with_nodes = $(CLUSTER) nodes; case $$? in 0) $(1);; 3) ;; *) exit 1;; esac
NODES_TESTS := $(CARGO) test --locked --features e2e --test e2e -- nodes:: --nocapture

# Where `dev-certs` writes, and for which hosts; without any, for those of the webhook.
DEV_CERTS ?= target/dev-certs
DEV_HOSTS ?=

.DEFAULT_GOAL := help
# The steps of `test` say more in order, and cargo uses every core by itself.
.NOTPARALLEL:
.PHONY: help build image image-root image-by-buildah image-by-docker image-check image-again demo cluster dev-certs test test-core test-unit test-scripts test-image mutants fuzz e2e e2e-nodes tools-images chart bench-admission ground fmt fmt-check lint lint-workflows deny advisories doc clean needs-rust needs-image-tool needs-python needs-go

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "demo, cluster, test and e2e use a Kubernetes control plane of their own. The first of them builds"
	@echo "it, which takes 10 to 15 minutes and shows how far it is; it is kept in $(CACHE)."

build: needs-rust ## Build the program, for release
	$(CARGO) build --locked --release --bin restamp

image: needs-image-tool image-root image-by-$(IMAGE_TOOL) ## Build the container image, by buildah or docker
	@echo "$(IMAGE) is $$(cat $(IMAGE_DIR)/id), and $$(wc -c < $(IMAGE_FILE)) bytes in $(IMAGE_FILE)"

image-root: needs-rust
	RUSTFLAGS="$(IMAGE_RUSTFLAGS)" $(CARGO) build --locked --release --bin restamp --target $(IMAGE_TARGET) --target-dir $(IMAGE_DIR)/build
	rm -rf $(IMAGE_DIR)/root $(IMAGE_FILE)
	install -D -m 0755 $(IMAGE_DIR)/build/$(IMAGE_TARGET)/release/restamp $(IMAGE_DIR)/root/restamp
	$(CARGO) run --locked --quiet --package restamp-dev-certs --bin public-authorities > $(IMAGE_DIR)/authorities.pem
	install -D -m 0644 $(IMAGE_DIR)/authorities.pem $(IMAGE_DIR)/root/etc/ssl/certs/ca-certificates.crt
	find $(IMAGE_DIR)/root -exec touch --date=@$(SOURCE_DATE_EPOCH) {} +

image-by-buildah:
	buildah build --timestamp $(SOURCE_DATE_EPOCH) --identity-label=false $(IMAGE_ARGS) .
	buildah push --quiet $(IMAGE) docker-archive:$(IMAGE_FILE):docker.io/library/$(IMAGE)

image-by-docker:
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) docker build $(IMAGE_ARGS) .
	docker save --output $(IMAGE_FILE) $(IMAGE)

image-check: image ## Check that image: what is in it, and that it runs on a real API server
	E2E_IMAGE=$(CURDIR)/$(IMAGE_FILE) $(WITH_CLUSTER) $(CARGO) test --locked --features e2e --test e2e -- image::

# Only the folder differs: what cargo built in it stays, and is built anew where its sources are newer.
image-again: image ## Build that image in another folder, and check that it is the same
	mkdir -p $(IMAGE_AGAIN)
	find $(IMAGE_AGAIN) -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
	tar --create --exclude ./target --exclude ./.git . | tar --extract --directory $(IMAGE_AGAIN)
	$(MAKE) --directory $(IMAGE_AGAIN) image IMAGE=$(IMAGE)-again
	cmp $(IMAGE_DIR)/id $(IMAGE_AGAIN)/$(IMAGE_DIR)/id

demo: needs-rust ## Watch Restamp at work on a real API server
	$(CARGO) build --locked --bin restamp
	$(WITH_CLUSTER) $(CARGO) run --locked --example demo

cluster: needs-rust ## Start a control plane, print its kubeconfig, and keep it until Ctrl-C
	$(CLUSTER) up --stay

dev-certs: needs-rust ## Make a CA and a serving certificate in DEV_CERTS, for DEV_HOSTS
	$(CARGO) run --locked --package restamp-dev-certs -- --out $(DEV_CERTS) $(addprefix --host ,$(DEV_HOSTS))

test: fmt-check ground lint lint-workflows deny test-scripts test-unit e2e chart test-image e2e-nodes ## Everything that a change has to pass

test-core: needs-rust ## The tests of the pure core, in seconds
	$(CARGO) test --locked --lib stamp::

test-unit: needs-rust ## Every test that needs no cluster
	$(CARGO) test --locked --workspace

test-scripts: needs-rust needs-python ## The tests of scripts/
	$(PYTHON) -B scripts/tests.py

test-image: ## image-check and image-again, where an image can be built
	@if [ -z "$(IMAGE_TOOL)" ] || ! $(IMAGE_TOOL) info >/dev/null; then \
		echo "skipped: image-check and image-again need buildah or docker, and the right to use it" >&2; \
	elif [ "$(IMAGE_TOOL)" = docker ]; then $(MAKE) image-check; \
		echo "skipped: image-again needs buildah: Docker writes times of its own" >&2; \
	else $(MAKE) image-check image-again; fi

mutants: needs-rust needs-python ground ## Take out each feature of docs/compatibility.md, and see its tests fail; ONLY=TEXT for some
	$(PYTHON) scripts/mutants $(if $(ONLY),'--only=$(ONLY)')

# In a failure stands what to run again: of a simulation its seed, of a property its smallest case.
fuzz: needs-rust ## The properties and simulations, with more cases than in test-unit, and new ones
	PROPTEST_CASES=$(FUZZ_CASES) $(CARGO) test --locked --lib
	SIMULATE=$(FUZZ_FIRST)..$$(($(FUZZ_FIRST) + $(FUZZ_HISTORIES) - 1)) $(CARGO) test --locked --test it -- simulation

# They wait more than they compute, so more of them run at once than there are cores.
e2e: needs-rust ## The tests on a real API server, or on the cluster of E2E_KUBECONFIG
	$(CLUSTER) exec --with cert-manager -- $(CARGO) test --locked --features e2e --test e2e -- --skip nodes:: --test-threads 6

e2e-nodes: needs-rust ## The tests on real nodes, that run containers; needs root, and says so where there can be none
ifndef E2E_KUBECONFIG
	$(call with_nodes,$(MAKE) image tools-images)
endif
	$(CARGO) test --locked --features e2e --test e2e --no-run
	$(CLUSTER) exec --with helm --with cert-manager --with nodes $(addprefix --image ,$(IMAGE_FILE) $(TOOLS_FILES)) -- $(NODES_TESTS)

tools-images:
	rm -rf $(TOOLS_DIR)
	install -D -m 0755 $$(command -v busybox) $(TOOLS_DIR)/busybox
	set -e; for name in $(TOOLS_IMAGES); do \
		buildah build --quiet --target $${name%:*} --tag $$name --file tests/e2e/nodes/Dockerfile $(TOOLS_DIR); \
		buildah push --quiet $$name docker-archive:$(TOOLS_DIR)/$$(echo $$name | tr : -).tar:docker.io/library/$$name; \
	done
	buildah build --quiet --tag $(NEXT_IMAGE) --build-arg VERSION=next .
	buildah push --quiet $(NEXT_IMAGE) docker-archive:$(TOOLS_DIR)/$(subst :,-,$(NEXT_IMAGE)).tar:docker.io/library/$(NEXT_IMAGE)

chart: needs-rust ## The tests of the Helm chart, with Helm 4 and 3
	$(CLUSTER) exec --with helm --with cert-manager --with prometheus -- $(CARGO) test --locked --features e2e --test chart

bench-admission: needs-rust ## What the webhook adds to a CREATE (docs/benchmarks.md)
	RESTAMP_LOG_LEVEL=info $(WITH_CLUSTER) $(CARGO) bench --locked --features e2e --bench admission

# Builds the control plane unless it has been built already, so that what is missing for it is said first.
ground: needs-rust
ifndef E2E_KUBECONFIG
	$(CLUSTER) build --with helm --with cert-manager --with prometheus
	$(call with_nodes,$(CLUSTER) build --with nodes)
endif

fmt: needs-rust ## Format the code
	$(CARGO) fmt --all

fmt-check: needs-rust ## Check that the code is formatted
	$(CARGO) fmt --all -- --check

lint: needs-rust ## Clippy; every warning is an error
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings

lint-workflows: $(LINT_MARK) ## Lint scripts, Dockerfile and workflows
	$(LINT_ROOT)/bin/shellcheck $(SHELL_SCRIPTS)
	$(LINT_ROOT)/bin/hadolint Dockerfile
	$(LINT_ROOT)/bin/actionlint -shellcheck $(LINT_ROOT)/bin/shellcheck
	$(LINT_ROOT)/bin/zizmor --offline --quiet --persona pedantic .github

$(LINT_MARK): | needs-python needs-go
	@echo "Installing actionlint, hadolint, shellcheck and zizmor, once."
	rm -rf $(LINT_ROOT)
	$(PYTHON) -m venv $(LINT_ROOT)
	$(LINT_ROOT)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes --requirement $(LINT_REQUIREMENTS)
	GOBIN=$(LINT_ROOT)/bin $(GO) install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION)
	@touch $@

deny: needs-rust $(DENY) ## Check dependencies: bans, licenses, sources
	$(DENY) --locked check bans licenses sources

# Not part of `test`: what was good yesterday can fail today, and the database of advisories has to be fetched.
advisories: needs-rust $(DENY) ## Check dependencies for known vulnerabilities
	$(DENY) --locked check advisories

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

needs-image-tool:
	@test -n "$(IMAGE_TOOL)" || { echo "An image needs buildah (apt-get install buildah, or your system's like) or docker." >&2; exit 1; }

needs-python:
	@$(PYTHON) -c 'import venv, ensurepip, tomllib' 2>/dev/null || { echo "Python 3.11 or newer with venv is needed, as '$(PYTHON)': apt-get install python3 python3-venv, or your system's like." >&2; exit 1; }

needs-go:
	@command -v $(GO) >/dev/null || { echo "Go is needed, as '$(GO)': see https://go.dev/doc/install." >&2; exit 1; }
