# shellcheck shell=bash disable=SC2034
# Shared by the scripts: paths, and the user that Postgres runs as. Sourced, never run.

set -euo pipefail

say()  { printf '==> %s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# Everything that the scripts create: .pg in the clone, or the place that it links to (see make_room
# in setup). Resolved, because the server's user may be able to reach that place and not the clone.
PGROOT=$(readlink -f "$ROOT/.pg")

# Whether packages of Debian can be installed: by root, or by sudo.
may_install() { command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null; }; }

# Whether this is Debian 12, or a distribution based on it.
is_debian_12() {
    local codename
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release 2>/dev/null && echo "${DEBIAN_CODENAME-${VERSION_CODENAME-}}") || true
    [ "$codename" = bookworm ]
}

# The major version to build for and to test with, if none is given: that of Debian 12. On another distribution, or
# without the right to install packages, it is that of a Python wheel.
default_pg() { if [ -e "$PGROOT/pg15/bin" ] || { is_debian_12 && may_install; }; then echo 15; else echo 16; fi; }
PG=${PG:-$(default_pg)}
PG_BIN=$PGROOT/pg$PG/bin
# The crypto stack: aws_lc_rs or rust_crypto.
CRYPTO=${CRYPTO:-aws_lc_rs}

export PGRX_HOME=$ROOT/.pg/pgrx
export PATH=$PGROOT/tools/bin:$PATH

# The caller's settings for other databases must not affect ours.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGDATA PGOPTIONS PGSERVICE PGSSLMODE

# Postgres refuses to run as root, so root runs it as the user that its package created.
if [ "$(id -u)" -eq 0 ]; then
    PG_USER=postgres
    # From a folder that this user can enter: Postgres looks up its working directory.
    as_pg() { (cd "$PGROOT" && runuser -u "$PG_USER" -- "$@"); }
else
    PG_USER=$(id -un)
    as_pg() { (cd "$PGROOT" && "$@"); }
fi

# For what only root may do: packages, and a Postgres of the system.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        command -v sudo >/dev/null || fail "neither root nor sudo; as root, run: $*"
        sudo "$@"
    fi
}

# Whether the library libclang is where bindgen looks for it.
have_libclang() {
    [ -z "${LIBCLANG_PATH-}" ] && [ "$(uname)" = Linux ] || return 0
    local folder
    for folder in /usr/lib* /usr/local/lib* /usr/lib*/*-linux-* /usr/lib*/llvm* /usr/lib*/llvm*/lib*; do
        if compgen -G "$folder/libclang[.-][s0-9]*" >/dev/null; then return; fi
    done
    return 1
}

# Whether the first version is older than the second one.
is_older() { [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# The minor versions of Postgres that have the fixes that the extension relies on, as auth.lint() has them
# (server_outdated).
FIXED_VERSIONS="15.20 16.16 17.12 18.7 19.0"

# The one of these that is newer than a version as pg_config and postgres print it; nothing if none is.
missed_fix() { # PostgreSQL VERSION ...
    local found=${1#* } fixed
    found=${found%% *}
    for fixed in $FIXED_VERSIONS; do
        if [ "${found%%[!0-9]*}" = "${fixed%%.*}" ] && is_older "$found" "$fixed"; then echo "$fixed"; fi
    done
}

# The Rust that the package declares in Cargo.toml, because pgrx does; and the oldest one that builds it.
declared_rust() { sed -n '/^\[package\]/,/^\[lib\]/s/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml"; }
oldest_rust() { sed -n '/^\[workspace.package\]/,/^$/s/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml"; }

# For commands of cargo that build what needs pgrx: --ignore-rust-version where rustc is older than declared.
older_rust=()
use_installed_rust() {
    choose_toolchain
    local found
    if found=$(rustc --version 2>/dev/null) && read -r _ found _ <<<"$found" && is_older "$found" "$(declared_rust)"; then
        older_rust=(--ignore-rust-version)
    fi
}

# rustup would download the toolchain that rust-toolchain.toml names. If its stable toolchain is the
# same version, use that.
choose_toolchain() {
    local channel
    [ -z "${RUSTUP_TOOLCHAIN-}" ] && command -v rustup >/dev/null || return 0
    channel=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$ROOT/rust-toolchain.toml")
    if ! rustup toolchain list | grep -q "^$channel-" &&
        rustup run stable rustc --version 2>/dev/null | grep -qF "rustc $channel "; then
        export RUSTUP_TOOLCHAIN=stable
    fi
}

# Runs a command while no other one builds, loads or installs libraries of the same profile: in its folder of target/ each
# has one name, whichever Postgres it is for, and the linker takes the old one away first. What the command leaves running
# does not keep the lock. Like cargo, goes on without one where there are no locks.
alone_in_target() { # PROFILE COMMAND ...
    command -v flock >/dev/null || { "${@:2}"; return; }
    local target=${CARGO_TARGET_DIR:-$ROOT/target}
    mkdir -p "$target"
    (
        flock --nonblock 9 || { say "Waiting for another build of profile $1"; flock 9 || true; }
        "${@:2}" 9>&-
    ) 9>"$target/$1.lock"
}

# A cluster's folder, which is also the folder of its socket, and closed to everyone else. CLUSTERS names the folder of
# all, so that tests of two versions can run at the same time.
cluster_dir() { printf '%s\n' "$PGROOT/${CLUSTERS:-cluster}/$1"; }
make_cluster_dir() {
    mkdir -p "$PGROOT/${CLUSTERS:-cluster}"
    install -d -m 700 -o "$PG_USER" "$(cluster_dir "$1")"
}
