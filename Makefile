# The words of this project, the same on a laptop and in CI. `make` lists them.
#
# Everything happens inside the work tree: services under .run, downloads under .local, builds under target.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# One after another: all of them want the same build lock, and their output is read from top to bottom.
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Compiled against .sqlx, never against whatever database DATABASE_URL happens to name; scripts/sqlx-prepare --check sees to
# it that .sqlx is true.
export SQLX_OFFLINE := true

SHELL_SCRIPTS = $(shell grep -rlE '^\#!.*\bbash$$' scripts .ci)

.PHONY: help demo check test up down audit fmt clippy doc deny unused-deps sqlx shell docs check-deps

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## everything in one process, with made-up traffic: watch webhooks arrive; DEMO_ARGS="--for 60s" ends it
	@scripts/install-deps build postgres
	cargo run --release --locked -- demo $(DEMO_ARGS)

check: check-deps fmt shell docs deny unused-deps clippy doc sqlx ## everything that can be said without running the tests

# Compiled first: a compiler error needs no services, and they would only wait.
test: ## all tests, with a Kafka and a PostgreSQL of their own; ARGS="name" to choose
	@scripts/install-deps build services
	cargo test --locked --no-run $(ARGS)
	scripts/with-services cargo test --locked $(ARGS)

up: ## start Kafka (127.0.0.1:19092) and PostgreSQL (127.0.0.1:15432) for development
	@scripts/install-deps services
	@scripts/services up .run/dev

down: ## stop them; their data stay in .run/dev
	@scripts/services down .run/dev

audit: ## known vulnerabilities in dependencies, from the internet: the answer changes without a commit
	cargo deny --locked check advisories

check-deps:
	@scripts/install-deps build services checks

fmt:
	cargo fmt --check

clippy:
	cargo clippy --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items

deny:
	@if command -v cargo-deny >/dev/null; then \
	    set -x; cargo deny --locked check bans licenses sources; \
	else echo "skipped: licences and bans of dependencies (cargo install cargo-deny --locked)"; fi

unused-deps:
	@if command -v cargo-machete >/dev/null; then \
	    set -x; cargo machete; \
	else echo "skipped: unused dependencies (cargo install cargo-machete --locked)"; fi

sqlx:
	scripts/sqlx-prepare --check

shell:
	@if command -v shellcheck >/dev/null; then \
	    set -x; shellcheck -x -a $(SHELL_SCRIPTS); \
	else echo "skipped: shell scripts (apt install shellcheck)"; fi

docs:
	scripts/check-docs
