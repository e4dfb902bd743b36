#!/bin/sh
# Installs a Rust toolchain, only where there is none that is new enough. Takes the distribution's own packages:
# Debian 12 keeps a recent compiler for its browsers (rustc-web), newer releases and Ubuntu have rustup.
set -eu

cd "$(dirname "$0")/.."
wanted=$(sed -n 's/^rust-version = "1\.\([0-9]*\)".*/\1/p' Cargo.toml)

minor() { rustc --version 2>/dev/null | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p'; }

enough() {
    found=$(minor)
    [ -n "$found" ] && [ "$found" -ge "$wanted" ] &&
        command -v cargo >/dev/null && command -v cargo-clippy >/dev/null && command -v cargo-fmt >/dev/null
}

if enough; then
    echo "Rust 1.$(minor) is here already."
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "Install Rust 1.$wanted or newer with cargo, clippy and rustfmt; your system's package manager is not apt." >&2
    exit 1
fi

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
available() { apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'; }
install() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@"; }

as_root apt-get update
if available rustc-web; then
    install cargo-web rustc-web rustfmt-web rust-web-clippy gcc libc6-dev
elif available rustup; then
    install rustup gcc libc6-dev
    rustup default stable
else
    echo "Neither rustc-web nor rustup is among this system's packages: install Rust 1.$wanted or newer yourself." >&2
    exit 1
fi
if ! enough; then
    echo "Rust is installed, but 1.$wanted with cargo, clippy and rustfmt is needed and 'rustc --version' says: $(rustc --version)" >&2
    exit 1
fi
echo "Rust 1.$(minor) is installed."
