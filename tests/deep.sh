#!/usr/bin/env bash
# The checks that take long: `make deep`. A check that this toolchain cannot run is left out, with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1

say() { printf '\n== %s\n' "$1"; }

say "loom: every interleaving of barrier and mailbox"
RUSTFLAGS="--cfg loom" cargo test --quiet --release --locked --target-dir target/loom -p fastnn-core --lib threads::

say "Miri: undefined behavior in the portable kernels"
if cargo miri --version >/dev/null 2>&1; then
    FASTNN_ISA=portable cargo miri test --target-dir target/miri -p fastnn-core --lib -- kernels:: tensor::
else
    echo "left out: this toolchain has no Miri"
fi

say "AddressSanitizer: the tests of the core"
host=$(rustc -vV | sed -n 's/^host: //p')
runtime=("$(rustc --print sysroot)/lib/rustlib/$host"/lib/librustc*_rt.asan.*)
if [ -e "${runtime[0]}" ]; then
    # A stable compiler hides the sanitizer. Some tests ask for more memory than there is, and many regions take minutes.
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
        cargo test --quiet --locked --target "$host" --target-dir target/asan -p fastnn-core --lib -- \
        --skip threads::tests::many_regions
else
    echo "left out: this toolchain has no AddressSanitizer for $host"
fi

say "valgrind: random calls of everything public"
"$python" -m tests.fuzz.memcheck --calls 4000 --seed 11

say "random calls"
"$python" -m tests.fuzz --calls 100000 --seed 12

say "random programs of views and changes in place"
"$python" -m tests.fuzz.differential --programs 20000

say "damaged files"
FASTNN_DAMAGED_FILES=50000 "$python" -m pytest --quiet tests/test_damaged_files.py
