# Shared by the scripts: where things are, and as whom Postgres runs. Sourced, never run.

set -euo pipefail

say()  { printf '==> %s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# All that the scripts make: .pg in the clone, or where that links to (see make_room in setup).
# Resolved, because the server's user may reach that place and not the clone.
PGROOT=$(readlink -f "$ROOT/.pg")

# The major version to build for and to test with.
PG=${PG:-15}
PG_BIN=$PGROOT/pg$PG/bin
# The crypto stack: aws_lc_rs or rust_crypto.
CRYPTO=${CRYPTO:-aws_lc_rs}

export PGRX_HOME=$ROOT/.pg/pgrx
export PATH=$PGROOT/tools/bin:$PATH

# The caller's settings for his own databases are not for ours.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGDATA PGOPTIONS PGSERVICE PGSSLMODE

# Postgres refuses to run as root, so root runs it as the user that its package made.
if [ "$(id -u)" -eq 0 ]; then
    PG_USER=postgres
    # From a folder that this user can enter: Postgres asks where it is.
    as_pg() { (cd "$PGROOT" && runuser -u "$PG_USER" -- "$@"); }
else
    PG_USER=$(id -un)
    as_pg() { (cd "$PGROOT" && "$@"); }
fi

# A cluster's folder, which is also the folder of its socket, and closed to everyone else.
cluster_dir() { printf '%s\n' "$PGROOT/cluster/$1"; }
make_cluster_dir() {
    mkdir -p "$PGROOT/cluster"
    install -d -m 700 -o "$PG_USER" "$(cluster_dir "$1")"
}

# pgrx compiles against the installation that it has listed for a major version. Listed only when
# that changes, because pgrx makes its bindings anew whenever its list is newer than they are.
pgrx_list() { # MAJOR PG_CONFIG
    grep -qsxF "pg$1 = \"$2\"" "$PGRX_HOME/config.toml" || cargo pgrx init --no-run "--pg$1" "$2"
}
