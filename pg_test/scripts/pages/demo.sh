#!/bin/bash
# `make demo` prints what examples/demo/expected.txt has, and examples/demo/README.md shows the same.

. "$(dirname "$0")/../../../scripts/lib.sh"
cd "$ROOT"

expected=examples/demo/expected.txt
actual=$PGROOT/pg_test/$PG/results/demo.out
trap 'scripts/cluster stop test_demo' EXIT

readme=examples/demo/README.md

# Prints that page with a file's content in its only fenced block.
readme_with() {
    awk -v file="$1" '
        state == 1 && /^```/ { state = 2 }
        state != 1 { print }
        !state && /^```/ { state = 1; while ((getline line < file) > 0) print line }' "$readme"
}

mkdir -p "${actual%/*}"
examples/demo/run test_demo >"$actual"
# Nothing is wrong with how the demo sets row-level security up. It has no pooler, and the server may lack fixes.
PGHOST=$(cluster_dir test_demo)
export PGHOST
[ "$("$PG_BIN/psql" -XAtq -U app_owner -c "SELECT count(*) FROM auth.lint() WHERE code NOT IN ('scope_not_stored', 'server_outdated')" demo)" = 0 ]

if [ -n "${ACCEPT-}" ]; then
    cp "$actual" "$expected"
    readme_with "$expected" >"$actual" && cat "$actual" >"$readme"
else
    diff -u "$expected" "$actual"
    readme_with "$expected" | diff -u "$readme" -
fi
