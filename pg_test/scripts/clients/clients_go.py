#!/usr/bin/env python3
"""The Go of docs/clients.md, with Debian's pgx: as clients_node does for JavaScript."""

import os
import shutil
import subprocess

from lib import clients, packages
from lib.pg import HERE, Checks, Cluster, shell


def main():
    checks = Checks()
    modules = shell('echo "$PGROOT/go/usr/share/gocode"')
    if not shutil.which("go") or not os.path.exists(modules):
        packages.missing(checks, "needs Go, and the modules that scripts/setup gets")
    folder = shell('echo "$PGROOT/clients_go"')
    os.makedirs(folder, exist_ok=True)
    shutil.copy(f"{HERE}/clients/go/main.go", folder)
    clients.write_blocks(folder, {"go": "client.go"})
    # Debian's way: packages in a folder, no modules, no downloads.
    environ = {**os.environ, "GO111MODULE": "off", "GOPATH": modules, "GOCACHE": f"{folder}/cache", "GOFLAGS": ""}
    subprocess.run(["go", "build", "-o", "clients", "main.go", "client.go"], check=True, cwd=folder, env=environ)
    with Cluster("clients_go") as cluster:
        clients.play_lines(checks, cluster, clients.database(cluster), [f"{folder}/clients"], "pgx", leaks=[])
    checks.done("pgx, as docs/clients.md has it")


main()
