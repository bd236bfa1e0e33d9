#!/bin/bash
# Two runs of scripts/install for different installations of Postgres, at the same time and in one clone: each installs
# what it has built, although both builds have one name in target/.

. "$(dirname "$0")/../../../scripts/lib.sh"

command -v flock >/dev/null || { echo "SKIPPED two_builds: no flock here"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch"/{real,one,two}
for name in one two; do ln -s "$(readlink -f "$PG_BIN/pg_config")" "$scratch/$name/pg_config"; done

# Builds at once, and goes on for a while. What it builds names the Postgres.
cat >"$scratch/real/cargo" <<'END'
#!/bin/bash
case $1 in
    build) ;;
    *) exec "$CARGO_OF_THE_TEST" "$@" ;;
esac
mkdir -p "$CARGO_TARGET_DIR/debug"
for library in pg_auth_jwt pg_auth_jwt_fetch; do
    echo "$PGRX_PG_CONFIG_PATH" >"$CARGO_TARGET_DIR/debug/lib$library.so"
    echo "{\"filenames\":[\"$CARGO_TARGET_DIR/debug/lib$library.so\"]}"
done
sleep 1
END
chmod +x "$scratch/real/cargo"
# Not scripts/older_cargo, which would find the one above.
CARGO_OF_THE_TEST=$(type -aP cargo | grep -vF "$PGROOT/tools/bin/" | head -n 1)
export CARGO_OF_THE_TEST CARGO_TARGET_DIR=$scratch/target PROFILE=dev

install() { # NAME
    PATH=$scratch/real:$PATH DESTDIR=$scratch/$1/root "$ROOT/scripts/install" "$scratch/$1/pg_config" >"$scratch/$1/log" 2>&1 ||
        { cat "$scratch/$1/log"; exit 1; }
}
install one &
sleep 0.5
install two
wait $!
for name in one two; do
    for library in pg_auth_jwt pg_auth_jwt_fetch; do
        found=$(<"$scratch/$name/root$("$PG_BIN/pg_config" --pkglibdir)/$library.so")
        [ "$found" = "$scratch/$name/pg_config" ] || fail "$library.so for $name was built for ${found#"$scratch/"}"
    done
done
say "each of two builds at a time installs its own"
