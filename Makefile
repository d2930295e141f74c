# `make` says what there is.

.DEFAULT_GOAL := help
.PHONY: help run test test-full bench lint clean

TARGET := $(or $(CARGO_TARGET_DIR),target)
SKM := $(TARGET)/release/skm

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build, and start the service with a SoftHSM2 token and demo data in .skm/
	@scripts/install run
	@echo "Building. The first time this takes ten to fifteen minutes on two cores, later seconds."
	@cargo build --release --locked
	@$(SKM) init --dev
	@exec $(SKM) serve --dev --config .skm/skm.toml

test: ## install what is missing, then check formatting, lints, licences, documentation and run the tests, as CI does
	@scripts/install test
	@scripts/check fmt clippy deny doc test

test-full: ## the same, with the long versions of the tests: every round, every case
	@scripts/install test
	@SKM_TEST_FULL=1 scripts/check fmt clippy deny doc test

bench: ## install what is missing and measure the token, bare HTTPS and the service against the budgets
	@scripts/install bench
	@echo "Building with optimisation. The first time this takes ten to fifteen minutes on two cores."
	@cargo bench --locked --bench service

lint: ## formatting, lints, licences and documentation, without the tests
	@scripts/install lint
	@scripts/check fmt clippy deny doc

clean: ## remove everything that was built, and .skm/ with its keys (asks first; FORCE=1 doesn't ask)
	@scripts/clean
