#!/usr/bin/env python3
"""The Rust of docs/clients.md, with the real crates: as clients_node does for JavaScript."""

from lib import clients, packages
from lib.pg import Checks, Cluster


def main():
    checks = Checks()
    program = packages.with_cargo(checks, "clients_rust", "clients/rust", {"src/client.rs": clients.block("rust")})
    with Cluster("clients_rust") as cluster:
        clients.play_lines(checks, cluster, clients.database(cluster), [program], "tokio-postgres", leaks=[])
    checks.done("tokio-postgres, as docs/clients.md has it")


main()
