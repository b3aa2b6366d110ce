# One target a job; CI calls the same ones. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYO3_PYTHON := $(abspath $(BIN)/python)
PIP := $(BIN)/python -m pip --quiet

# What the wheel is made of: a change here, and only here, makes a new one.
SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md \
	$(shell find rust python -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.pyi' -o -name 'py.typed' \))

.DEFAULT_GOAL := help
.PHONY: help build demo examples gallery test fuzz bench bench-peers lint fmt clippy rustdoc cargo-test pytest test-peers test-arm wheel-arm ruff mypy stubtest wheel-check clean
.NOTPARALLEL:

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

## Stamps: each stands for a step that need not be taken again.

$(VENV)/.venv-made:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip 'maturin>=1.9.4,<2'
	@touch $@

$(VENV)/.wheel-installed: $(VENV)/.venv-made $(SOURCES)
	rm -rf dist
	$(BIN)/maturin build --release --out dist
	$(PIP) install --force-reinstall --no-deps dist/*.whl
	$(PIP) install "$$(ls dist/*.whl)[plot]"
	@touch $@

$(VENV)/.test-tools: pyproject.toml | $(VENV)/.wheel-installed
	$(PIP) install "$$(ls dist/*.whl)[test]"
	@touch $@

# PyTorch is large: a few minutes.
$(VENV)/.peers: $(VENV)/.test-tools
	$(PIP) install "$$(ls dist/*.whl)[peers]"
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

test: fmt clippy rustdoc cargo-test pytest ruff mypy stubtest wheel-check ## every check

# 20,000 calls are part of `make pytest`.
FUZZ_CALLS ?= 1000000
FUZZ_SEED ?= 1

fuzz: build $(VENV)/.test-tools ## random calls of everything public: FUZZ_CALLS of them, from FUZZ_SEED on
	$(BIN)/python -m tests.fuzz --calls $(FUZZ_CALLS) --seed $(FUZZ_SEED)

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

pytest: build $(VENV)/.test-tools ## tests of the installed wheel
	$(BIN)/python -m pytest

test-peers: build $(VENV)/.peers ## install the peers, then run the tests that compare with them, too
	$(BIN)/python -m pytest

# What these need (Debian's rustc with the standard library for ARM, Python for ARM, zig, an emulator) they unpack there.
ARM := target/arm

test-arm: build $(VENV)/.test-tools ## tests of engine and wheel for 64-bit ARM Linux, emulated: half an hour
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
	$(BIN)/stubtest fastnn._core

wheel-check: build $(VENV)/.test-tools ## what the wheel holds and weighs
	$(BIN)/python tests/check_wheel.py dist/*.whl

clean: ## remove everything that the targets make
	rm -rf $(VENV) dist target examples/out .pytest_cache .mypy_cache .ruff_cache .benchmarks .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
