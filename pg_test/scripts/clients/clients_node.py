#!/usr/bin/env python3
"""The JavaScript of docs/clients.md, with the real packages: each user's rows, the answers to
errors, and which errors have the token, directly and behind PgBouncer in transaction mode."""

import shutil

from lib import clients, packages
from lib.pg import HERE, Checks, Cluster

# The sides of an error that have the token, and the place of the SQLSTATE.
CLIENTS = {
    "node_postgres": ([], "code"),
    "postgres_js": (["hidden"], "code"),
    "drizzle": (["message", "printed", "hidden"], "cause"),
    "kysely": ([], "code"),
}


def main():
    checks = Checks()
    folder, node = packages.from_npm(checks, "clients_node", "clients")
    clients.write_blocks(
        folder, {"js_errors": "errors.mjs", "js_pool": "pool.mjs", **{name: f"{name}.mjs" for name in CLIENTS}}
    )
    shutil.copy(f"{HERE}/clients/run.mjs", folder)
    with Cluster("clients_node") as cluster:
        db = clients.database(cluster)
        for name, (leaks, code) in CLIENTS.items():
            clients.play(checks, cluster, db, [node, f"{folder}/run.mjs"], name, leaks, code)
    checks.done(f"{', '.join(CLIENTS)}: as docs/clients.md has them")


main()
