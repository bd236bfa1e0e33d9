#!/bin/bash
# The install script and the control file that scripts/install writes equal pgrx's output for the list in
# src/lib.rs, except for comments and blank lines; and --uninstall removes exactly what was installed.

. "$(dirname "$0")/../../../scripts/lib.sh"
cd "$ROOT"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
extension=$("$PG_BIN/pg_config" --sharedir)/extension
version=$(cargo pkgid)
version=${version##*[#@]}

# Removes comments: whole lines, and pgrx's notice, which is the only comment of several lines.
statements() { sed -e '/^\/\*$/,/^\*\/$/d' -e '/^\/\*.*\*\/$/d' -e '/^ *--/d' -e '/^ *$/d' "$1"; }

cargo pgrx schema "pg$PG" --profile "${PROFILE:-release}" --skip-build --no-default-features --features "$CRYPTO" \
    --out "$scratch/pgrx.sql" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
[ "$(statements "$scratch/pgrx.sql" | wc -l)" -gt 50 ] || fail "pgrx's script is empty"
diff -u <(statements "$scratch/pgrx.sql") <(statements "$extension/pg_auth_jwt--$version.sql")
diff -u <(sed "s/@CARGO_VERSION@/$version/" pg_auth_jwt.control) "$extension/pg_auth_jwt.control"

# All files of sql/ are in it, or are upgrade scripts.
for file in sql/*.sql; do
    case $file in sql/pg_auth_jwt--*) ;; *) grep -q "^-- $file\$" "$extension/pg_auth_jwt--$version.sql" || fail "$file is not listed" ;; esac
done

# The two libraries have a copy each of the same crypto library, and may be loaded by one process. So
# neither offers its copy to the other.
libdir=$("$PG_BIN/pg_config" --pkglibdir)
exported=$(nm -D --defined-only "$libdir/pg_auth_jwt_fetch.so" | sed 's/.* //')
[ "$(wc -l <<<"$exported")" -eq 4 ] || fail "pg_auth_jwt_fetch.so exports: $exported"
if grep -v '^pg_auth_jwt_fetch_' <<<"$exported"; then fail "pg_auth_jwt_fetch.so exports that"; fi
if nm -D --defined-only "$libdir/pg_auth_jwt.so" | grep -i aws_lc; then fail "pg_auth_jwt.so exports that"; fi

# Below a folder of its own: install, see what is there, uninstall.
export DESTDIR=$scratch/root
mine=$DESTDIR$extension/pg_auth_jwt--0.0.0--mine.sql
scripts/install >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
for file in "$extension"/pg_auth_jwt* "$libdir"/pg_auth_jwt*; do
    cmp "$file" "$DESTDIR$file"
done
echo >"$mine"
scripts/install --uninstall >"$scratch/log"
[ "$(find "$DESTDIR" -type f)" = "$mine" ] || fail "left: $(find "$DESTDIR" -type f)"
