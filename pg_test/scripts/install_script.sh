#!/bin/bash
# The install script and the control file that scripts/install writes equal pgrx's output for the list in
# src/lib.rs, except for comments and blank lines; and --uninstall removes exactly what was installed.

. "$(dirname "$0")/../../scripts/lib.sh"
cd "$ROOT"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
extension=$("$PG_BIN/pg_config" --sharedir)/extension
version=$(cargo pkgid)
version=${version##*[#@]}

# Removes comments: whole lines, and pgrx's notice, which is the only comment of several lines.
statements() { sed -e '/^\/\*$/,/^\*\/$/d' -e '/^\/\*.*\*\/$/d' -e '/^ *--/d' -e '/^ *$/d' "$1"; }

cargo pgrx schema "pg$PG" --release --skip-build --no-default-features --features "$CRYPTO" \
    --out "$scratch/pgrx.sql" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
[ "$(statements "$scratch/pgrx.sql" | wc -l)" -gt 50 ] || fail "pgrx's script is empty"
diff -u <(statements "$scratch/pgrx.sql") <(statements "$extension/pg_auth_jwt--$version.sql")
diff -u <(sed "s/@CARGO_VERSION@/$version/" pg_auth_jwt.control) "$extension/pg_auth_jwt.control"

# All files of sql/ are in it, or are upgrade scripts.
for file in sql/*.sql; do
    case $file in sql/pg_auth_jwt--*) ;; *) grep -q "^-- $file\$" "$extension/pg_auth_jwt--$version.sql" || fail "$file is not listed" ;; esac
done

# Below a folder of its own: install, see what is there, uninstall.
export DESTDIR=$scratch/root
mine=$DESTDIR$extension/pg_auth_jwt--0.0.0--mine.sql
scripts/install >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
for file in "$extension"/pg_auth_jwt* "$("$PG_BIN/pg_config" --pkglibdir)"/pg_auth_jwt*; do
    cmp "$file" "$DESTDIR$file"
done
echo >"$mine"
scripts/install --uninstall >"$scratch/log"
[ "$(find "$DESTDIR" -type f)" = "$mine" ] || fail "left: $(find "$DESTDIR" -type f)"
