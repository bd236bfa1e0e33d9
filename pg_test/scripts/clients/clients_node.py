#!/usr/bin/env python3
"""The TypeScript of docs/clients.md, checked by tsc --strict, with the real packages: each user's rows, the answers
to errors, and which errors have the token, directly and behind PgBouncer in transaction mode."""

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
    blocks = {"js_errors": "errors.ts", "js_pool": "pool.ts", **{name: f"{name}.ts" for name in CLIENTS}}
    clients.write_blocks(folder, blocks)
    clients.compile_types(node, folder, folder, blocks.values())
    shutil.copy(f"{HERE}/clients/run.mjs", folder)
    with Cluster("clients_node") as cluster:
        db = clients.database(cluster)
        for name, (leaks, code) in CLIENTS.items():
            clients.play(checks, cluster, db, [node, f"{folder}/run.mjs"], name, leaks, code)
    checks.done(f"{', '.join(CLIENTS)}: as docs/clients.md has them")


main()
