#!/usr/bin/env bash
# Set up what builds and runs programs for 64-bit ARM Linux on this machine, in the folder given:
#
#   rust/   Debian's rustc, with the standard library of both machines
#   root/   Debian's Python for ARM
#   site/   NumPy for ARM, pytest
#   tools/  zig, which links against glibc 2.17; maturin; the wrappers rustc, python, run
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
arm=$(cd "$1" && pwd)
python=${PYTHON:-python3}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Write a program: wrapper NAME, its text on standard input.
wrapper() {
    cat >"$arm/tools/bin/$1"
    chmod +x "$arm/tools/bin/$1"
}

qemu=qemu-aarch64-static
if ! command -v "$qemu" >/dev/null; then
    as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends qemu-user-static
fi
[ -e "$arm/rust/.made" ] || {
    "$here/debs.sh" "$arm/rust" amd64 rustc libstd-rust-dev libstd-rust-dev:arm64
    touch "$arm/rust/.made"
}
[ -e "$arm/root/.made" ] || {
    "$here/debs.sh" "$arm/root" arm64 python3 libstdc++6
    # The loader's path is a link in a package that installs the merged /usr.
    [ -e "$arm/root/lib" ] || ln -s usr/lib "$arm/root/lib"
    touch "$arm/root/.made"
}
[ -e "$arm/tools/.made" ] || {
    "$python" -m venv "$arm/tools"
    "$arm/tools/bin/python" -m pip install -q 'maturin>=1.9.4,<2' ziglang cargo-zigbuild
    touch "$arm/tools/.made"
}
version=$(basename "$(ls -d "$arm"/root/usr/bin/python3.*[0-9])")
[ -e "$arm/site/.made" ] || {
    "$arm/tools/bin/python" -m pip install -q --target "$arm/site" --only-binary=:all: --platform manylinux_2_28_aarch64 \
        --platform manylinux2014_aarch64 --python-version "${version#python}" numpy tqdm pytest hypothesis
    touch "$arm/site/.made"
}

libraries=$arm/rust/usr/lib/x86_64-linux-gnu
wrapper rustc <<END
#!/bin/sh
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$arm/rust/usr/bin/rustc" "\$@"
END
wrapper run-arm <<END
#!/bin/sh
exec $qemu -L "$arm/root" "\$@"
END
# A program that Python starts by sys.executable must come back here: no kernel runs it as it is.
wrapper python-arm <<END
#!/bin/sh
PYTHONHOME="$arm/root/usr" PYTHONPATH="\${PYTHONPATH:+\$PYTHONPATH:}$arm/site" \\
exec $qemu -L "$arm/root" -0 "\$0" "$arm/root/usr/bin/$version" "\$@"
END
