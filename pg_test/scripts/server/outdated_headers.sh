#!/bin/bash
# Building warns of header files from before the fixes that auth.lint() knows, and only of those.

. "$(dirname "$0")/../../../scripts/lib.sh"
cd "$ROOT"

expect() { # VERSION FIXED
    local found
    found=$(missed_fix "$1")
    [ "$found" = "$2" ] || fail "for $1: ${found:-no warning}, wanted ${2:-none}"
}
expect "PostgreSQL 15.18 (Debian 15.18-0+deb12u1)" 15.20
expect "PostgreSQL 15.9" 15.20
expect "PostgreSQL 15.20 (Debian 15.20-0+deb12u1)" ""
expect "PostgreSQL 15.21" ""
expect "PostgreSQL 16.14" 16.16
expect "PostgreSQL 17.2" 17.12
expect "PostgreSQL 18.6 (Debian 18.6-3)" 18.7
expect "PostgreSQL 18.10" ""
expect "PostgreSQL 19rc1 (Debian 19~rc1-1)" 19.0
expect "PostgreSQL 19.0" ""

# The same versions as in the finding server_outdated and in the README's table.
newest=$(sed -n "s/^ *JOIN (VALUES //; s/('CVE-/\n('CVE-/gp" sql/lint.sql | sed -nE "s/^\('CVE-[0-9-]+', ([0-9]+), ([0-9]+)\).*/\1.\2/p" |
    sort -V | awk -F. '{ last[$1] = $0 } END { for (major in last) print last[major] }' | sort -V)
[ "$newest" = "$(tr ' ' '\n' <<<"$FIXED_VERSIONS")" ] || fail "auth.lint() has: $newest"
for fixed in $FIXED_VERSIONS; do
    grep -q "^| ${fixed%%.*} | [0-9.]* | $fixed |" README.md || fail "README has no row of $fixed"
    grep -q "\b$fixed\b" docs/lint.md || fail "docs/lint.md does not name $fixed"
done
echo "        header files without the fixes are named"
