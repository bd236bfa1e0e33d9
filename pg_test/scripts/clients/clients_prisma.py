#!/usr/bin/env python3
"""The Prisma client of docs/clients.md, with the real packages: as clients_node does for others."""

import os
import shutil
import subprocess

from lib import clients, packages
from lib.pg import HERE, Checks, Cluster


def main():
    checks = Checks()
    folder, node = packages.from_npm(checks, "clients_prisma", "clients/prisma")
    clients.write_blocks(folder, {"js_errors": "errors.ts", "prisma_schema": "schema.prisma", "prisma": "prisma.ts"})
    shutil.copy(f"{HERE}/clients/prisma/play.mjs", folder)
    # Making the client needs no engine, but looks for the one that migrations need, and would
    # download it.
    environ = {**os.environ, "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true", "CHECKPOINT_DISABLE": "1"}
    subprocess.run(
        [node, "node_modules/prisma/build/index.js", "generate", "--schema", "schema.prisma"],
        check=True,
        cwd=folder,
        env=environ,
        stdout=subprocess.DEVNULL,
    )
    compiler, _ = packages.from_npm(checks, "clients_node", "clients")
    clients.compile_types(node, compiler, folder, ["errors.ts", "prisma.ts"])
    with Cluster("clients_prisma") as cluster:
        clients.play_lines(
            checks,
            cluster,
            clients.database(cluster),
            [node, f"{folder}/play.mjs"],
            "Prisma",
            leaks=[],
            kind="PrismaClientKnownRequestError",
        )
    checks.done("Prisma, as docs/clients.md has it")


main()
