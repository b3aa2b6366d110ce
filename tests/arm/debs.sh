#!/usr/bin/env bash
# Unpack Debian packages and all that they depend on: debs.sh ROOT ARCHITECTURE PACKAGE…
#
# Nothing is installed and no script of a package runs, so this needs neither root nor a machine of that architecture.
set -euo pipefail
root=$1 architecture=$2
shift 2
release=${DEBIAN_RELEASE:-forky}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
apt=$root/apt
mkdir -p "$apt"/{etc/apt.conf.d,etc/preferences.d,etc/trusted.gpg.d,state/lists/partial,cache/archives/partial}
: >"$apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$apt/etc/sources.list"
options=(
    -qq -o "Dir::Etc=$apt/etc" -o "Dir::Etc::sourcelist=$apt/etc/sources.list" -o "Dir::Etc::sourceparts=-"
    -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
    -o "APT::Architecture=$architecture" -o "APT::Architectures::=$architecture" -o "APT::Architectures::=arm64"
    -o "APT::Sandbox::User=" -o "Debug::NoLocking=true" -o "APT::Install-Recommends=false"
)
apt-get "${options[@]}" update
apt-get "${options[@]}" --download-only --yes install "$@"
for deb in "$apt"/cache/archives/*.deb; do
    dpkg-deb --extract "$deb" "$root"
done
rm -rf "$apt"
