#!/usr/bin/env bash
# Build and test for 64-bit ARM Linux in an emulator: run.sh FOLDER wheel|core|python
#
#   wheel    a manylinux2014 wheel into FOLDER/dist
#   core     the tests of the engine
#   python   some of the tests of the wheel, and its weights' bits against those of this machine
#
# Emulated arithmetic takes 20 to 50 times as long. Where FASTNN_EMULATED is set, Rust tests sweep with longer steps
# (`sweep_step` in kernels/testing.rs), and pytest runs one test of 25 (tests/conftest.py).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
"$here/setup.sh" "$1"
arm=$(cd "$1" && pwd)
target=aarch64-unknown-linux-gnu
glibc=2.17
export PATH="$arm/tools/bin:$PATH"
export CARGO_TARGET_DIR="$arm/build" FASTNN_EMULATED=1
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=run-arm
cd "$source"

wheel() {
    rm -rf "$arm/dist"
    nice -n 5 maturin build --release --zig --target $target --compatibility manylinux2014 --interpreter python3 --out "$arm/dist"
}

core() {
    # With debug assertions, as `make cargo-test`, but optimized: it is the emulator that takes the time.
    export CARGO_PROFILE_DEV_OPT_LEVEL=${OPT:-2} CARGO_PROFILE_DEV_DEBUG=false
    nice -n 5 cargo-zigbuild test --package fastnn-core --locked --lib --tests --target $target.$glibc
}

python() {
    [ -n "$(ls "$arm"/dist/*.whl 2>/dev/null)" ] || wheel
    rm -rf "$arm/installed"
    "$arm/tools/bin/python" -m zipfile -e "$arm"/dist/*.whl "$arm/installed"
    export PYTHONPATH="$arm/installed:$source"
    python-arm -W error -c 'import platform, fastnn._core as c; print(platform.machine(), c.isa(), c.lacking_instructions())'
    python-arm -m tests.bits | tee "$arm/bits.json"
    [ -z "${BITS:-}" ] || diff "$BITS" "$arm/bits.json"
    python-arm -m pytest -q -p no:cacheprovider "${TESTS[@]}"
}

# Each kind of layer, op and optimizer once, the plan, files, and the bits.
TESTS=(
    tests/nn/test_layers.py tests/ops/test_ops.py tests/optim/test_optim.py tests/test_serialization.py tests/test_tensor.py
    tests/test_autograd.py tests/test_symbols.py
)

shift
for job in "$@"; do $job; done
