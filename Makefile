# One target for each task in this project. The work is in scripts/ and pg_test/.

# The Postgres for install, uninstall and package.
PG_CONFIG ?= pg_config
# The major version for the other targets: 15 to 19. Without one, scripts/lib.sh chooses.
ifndef PG
PG := $(shell bash -c '. scripts/lib.sh && echo $$PG')
endif
export PG
# Crypto stack that checks signatures: aws_lc_rs, or rust_crypto for a build in pure Rust.
export CRYPTO ?= aws_lc_rs

# pgrx's list of Postgres installations, and cargo-pgrx where the system's isn't the right one.
export PGRX_HOME := $(CURDIR)/.pg/pgrx
export PATH := $(CURDIR)/.pg/tools/bin:$(PATH)

.PHONY: help demo demo-stop test test-all interop soak bench fuzz fuzz-plans mutants lint docs install uninstall package licences test-packages clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s%s\n", $$1, $$2 }' Makefile

demo: ## builds, starts a private Postgres and shows what the extension does
	@echo "==> Gets Postgres, compiles the extension and starts it here: about 2.5 minutes on two cores, once."
	@scripts/setup pg$(PG)
	@PROFILE=$(or $(PROFILE),dev) scripts/install
	@echo
	@examples/demo/run demo
	@echo
	@echo "==> To look around: .pg/pg$(PG)/bin/psql -h $$(readlink -f .pg)/cluster/demo -U authenticated demo"
	@echo "==> make demo-stop ends it."

demo-stop: ## ends the demo's Postgres and removes its data
	@scripts/cluster stop demo

test: ## runs the tests that need Postgres, Rust and Python alone; with T=name only that one of pg_test
	@scripts/setup pg$(PG) test
	@scripts/test $(T)

test-all: ## runs every test: also those inside of the server, with real clients, issuers and a browser
	@scripts/setup pg$(PG) all
	@scripts/test $(or $(T),--all)

interop: ## tests with issuers' tokens, real libraries and drivers: group clients of pg_test/tests.list
	@scripts/setup pg$(PG) all
	@scripts/install
	@GROUP=clients pg_test/run

bench: ## measures, and writes docs/performance.md
	@scripts/setup pg$(PG) test
	@scripts/install
	@bench/run.py $(T)

soak: ## what takes minutes: poolers, crowds, freshness, connections, memory, worst cases, plans, endpoints
	@scripts/setup pg$(PG) test
	@scripts/install
	@pg_test/soak $(T)

fuzz: ## runs each fuzz target for SECONDS=60
	@scripts/setup '' fuzz
	@scripts/fuzz $(or $(SECONDS),60) $(T)

fuzz-plans: ## random statements, evaluated once and for each row, for SECONDS=60
	@scripts/setup pg$(PG) test
	@scripts/install
	@FUZZ_SECONDS=$(or $(SECONDS),60) pg_test/run random_plans

mutants: ## changes the verifier and the rules of fetching, a mutant at a time, and tells which no test notices
	@scripts/setup pg$(PG) mutants
	@scripts/mutants $(T)

docs: ## makes a book of the documentation, with a search: target/docs/book/index.html
	@scripts/setup '' docs
	@scripts/book.py .pg/tools/mdbook/bin/mdbook target/docs
	@echo "==> target/docs/book/index.html"

lint: ## checks the formatting, the Rust, the shell and the Python
	@scripts/setup pg$(PG) lint
	@scripts/lint

install: ## builds and installs into the Postgres of PG_CONFIG
	@scripts/install "$(PG_CONFIG)"

uninstall: ## removes the files that install put into the Postgres of PG_CONFIG
	@scripts/install --uninstall "$(PG_CONFIG)"

package: ## builds packages for the Postgres of PG_CONFIG, into target/package
	@scripts/package "$(PG_CONFIG)"

licences: ## writes THIRD_PARTY_LICENSES.txt, which is due when a dependency has changed
	@scripts/setup pg15 package
	@scripts/package --licences

test-packages: ## builds the packages of a release for Postgres 15 and tries them, also in a fresh Debian
	@scripts/setup pg15 package
	@PG=15 pg_test/packages

clean: ## removes all that was built and downloaded
	@[ ! -e .pg ] || examples/better-auth/run stop
	@for d in .pg/cluster/*/data .pg/c[0-9]*/*/data; do [ ! -e $$d ] || \
		CLUSTERS=$$(basename $${d%/*/data}) scripts/cluster stop $$(basename $${d%/data}); done
	@for d in .pg/c[0-9]*; do [ ! -L $$d ] || rm -rf "$$(readlink -f $$d)"; done
	rm -rf "$$(readlink -f .pg)" .pg examples/better-auth/node_modules
	cargo clean
