#!/bin/bash
# `make demo` shows what examples/demo/expected.txt says.

. "$(dirname "$0")/../../scripts/lib.sh"

expected=$ROOT/examples/demo/expected.txt
transcript() { "$ROOT/examples/demo/run" test_demo | sed 's/it is [0-9.]*\.$/it is (now)./'; }
trap '"$ROOT/scripts/cluster" stop test_demo' EXIT

if [ -n "${ACCEPT-}" ]; then
    transcript >"$expected"
else
    transcript | diff -u "$expected" -
fi
