#!/bin/bash
# scripts/older_cargo, which .pg/tools/bin has as cargo: it finds the real one, also if PATH has two names of that
# folder, as where .pg is a link, and adds its option for cargo-pgrx alone.

. "$(dirname "$0")/../../../scripts/lib.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch"/{tools,real}
ln -s "$ROOT/scripts/older_cargo" "$scratch/tools/cargo"
ln -s tools "$scratch/link"
cat >"$scratch/real/cargo" <<'END'
#!/bin/bash
echo "cargo $*"
END
cat >"$scratch/real/cargo-pgrx" <<'END'
#!/bin/bash
"$CARGO" test --lib
"$CARGO" metadata
echo "flags $PGRX_BUILD_FLAGS"
END
chmod +x "$scratch"/real/*

expect() { # WANTED ARGUMENTS ...
    local found
    found=$(PATH=$scratch/link:$scratch/tools:$scratch/real:/usr/bin:/bin timeout 20 cargo "${@:2}") || fail "cargo ${*:2} ended with $?"
    [ "$found" = "$1" ] || fail "cargo ${*:2}: $found, wanted $1"
}
expect "cargo build --lib" build --lib
expect "cargo build --ignore-rust-version" build --ignore-rust-version
expect "cargo test --ignore-rust-version --lib
cargo metadata
flags --ignore-rust-version " pgrx test
say "the real cargo is found behind two names, and cargo-pgrx's commands get the option"
