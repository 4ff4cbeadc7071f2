# The commands of this project, which are the same on a laptop and in CI. `make` lists them.
#
# Everything they write lies inside the work tree: services under .run, downloads under .local, builds under target.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# One target after another: most of them wait for the same build lock, and their output is read from top to bottom.
.NOTPARALLEL:
.DEFAULT_GOAL := help

# SQL is checked against .sqlx, whatever database DATABASE_URL names. scripts/sqlx-prepare --check makes sure that
# .sqlx is up to date. (.cargo/config.toml says the same to a cargo that is run by hand.)
export SQLX_OFFLINE := true

SHELL_SCRIPTS = $(shell grep -rlE '^\#!.*\bbash$$' scripts .ci)

.PHONY: help demo build check test bench fuzz-api up down symbols audit fmt clippy doc deny unused-deps sqlx shell docs commits check-deps

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## everything in one process, with made-up traffic: watch webhooks arrive; DEMO_ARGS="--for 60s" ends it
	@scripts/install-deps build postgres
	cargo run --release --locked -- demo $(DEMO_ARGS)

check: check-deps fmt shell docs commits deny unused-deps sqlx doc ## everything that can be checked without running the tests

build: ## compile the program with optimisations: target/release/bellwether
	@scripts/install-deps build
	cargo build --release --locked

# Everything is compiled before the services are started, which would otherwise wait for the compiler. Most of what a
# test with services does is to wait, so on few cores there are more tests at once than cores.
test: export RUST_TEST_THREADS ?= $(shell cores=$$(nproc); echo $$((cores > 3 ? cores : 3)))
test: ## all tests, with a Kafka and a PostgreSQL of their own; ARGS="name" runs some
	@scripts/install-deps build services tests browser
	cargo test --locked --no-run $(ARGS)
	$(if $(ARGS),,scripts/test-services)
	scripts/with-services cargo test --locked $(ARGS)

bench: ## measure the speed against the design's targets; ARGS="--only drain --runs 1" runs some, ARGS=--help explains
	@scripts/bench $(ARGS)

fuzz-api: ## drive the API from its OpenAPI document with Schemathesis; ARGS="--max-examples 200" tries more
	@scripts/fuzz-api $(ARGS)

up: ## start Kafka (127.0.0.1:19092) and PostgreSQL (127.0.0.1:15432) for development
	@scripts/install-deps services
	@scripts/services up .run/dev

down: ## stop them; their data stay in .run/dev
	@scripts/services down .run/dev

# A debugger and Rust's backtraces find the second file by its name and checksum, which the first file holds.
symbols: ## a release build with its symbols beside it: target/symbols/bellwether and bellwether.debug
	@scripts/install-deps build
	cargo build --locked --profile unstripped
	mkdir -p target/symbols
	cd target/symbols && objcopy --only-keep-debug --compress-debug-sections ../unstripped/bellwether bellwether.debug
	cd target/symbols && objcopy --strip-all --add-gnu-debuglink=bellwether.debug ../unstripped/bellwether bellwether

audit: ## look up known vulnerabilities of the dependencies on the internet
	cargo deny --locked check advisories

check-deps:
	@scripts/install-deps build services checks

fmt:
	cargo fmt --check

clippy:
	cargo clippy --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --no-deps --locked --document-private-items

deny:
	@if command -v cargo-deny >/dev/null; then \
	    set -x; cargo deny --locked check bans licenses sources; \
	else echo "skipped: licences and bans of dependencies (cargo install cargo-deny --locked)"; fi

unused-deps:
	@if command -v cargo-machete >/dev/null; then \
	    set -x; cargo machete; \
	else echo "skipped: unused dependencies (cargo install cargo-machete --locked)"; fi

# Includes clippy: the crate is compiled once for both.
sqlx:
	scripts/sqlx-prepare --check

shell:
	scripts/test-check-commits
	@if command -v shellcheck >/dev/null; then \
	    set -x; shellcheck -x -a $(SHELL_SCRIPTS); \
	else echo "skipped: shell scripts (apt install shellcheck)"; fi

docs:
	scripts/check-docs

commits:
	scripts/check-commits
