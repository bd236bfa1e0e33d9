#!/bin/bash
# `make demo` prints what examples/demo/expected.txt has, and README.md shows the same.

. "$(dirname "$0")/../../scripts/lib.sh"
cd "$ROOT"

expected=examples/demo/expected.txt
actual=$PGROOT/pg_test/results/demo.out
trap 'scripts/cluster stop test_demo' EXIT

# README.md with a file's content in the fenced block after the line "<!-- demo: ...".
readme_with() {
    awk -v file="$1" '
        /^<!-- demo:/ { state = 1 }
        state == 2 && /^```/ { state = 3 }
        state != 2 { print }
        state == 1 && /^```/ { state = 2; while ((getline line < file) > 0) print line }' README.md
}

mkdir -p "${actual%/*}"
examples/demo/run test_demo >"$actual"
if [ -n "${ACCEPT-}" ]; then
    cp "$actual" "$expected"
    readme_with "$expected" >"$actual" && cat "$actual" >README.md
else
    diff -u "$expected" "$actual"
    readme_with "$expected" | diff -u README.md -
fi
