#!/usr/bin/env python3
"""The Java of docs/clients.md, with the real driver and pool: as clients_node does for
JavaScript."""

import os
import random
import shutil
import subprocess

from lib import clients, packages
from lib.pg import HERE, Checks, Cluster, shell


def main():
    checks = Checks()
    jars = shell('echo "$PGROOT/java/usr/share/java"')
    if not shutil.which("javac") or not os.path.exists(jars):
        packages.missing(checks, "needs a JDK, and the driver that scripts/setup gets")
    folder = shell('echo "$PGROOT/clients_java"')
    os.makedirs(folder, exist_ok=True)
    shutil.copy(f"{HERE}/clients/java/Play.java", folder)
    clients.write_blocks(folder, {"java": "Database.java"})
    path = ":".join([folder, *(f"{jars}/{jar}.jar" for jar in ("postgresql", "HikariCP", "slf4j-api", "slf4j-nop"))])
    subprocess.run(["javac", "-cp", path, "Play.java", "Database.java"], check=True, cwd=folder)
    # The driver does not know Unix sockets. Each address of 127.0.0.0/8 is the loopback interface:
    # a random one keeps the port 5432 free for others.
    address = "127." + ".".join(str(random.randint(1, 254)) for _ in range(3))
    with Cluster("clients_java", listen_addresses=address) as cluster:
        clients.play_lines(
            checks, cluster, clients.database(cluster), ["java", "-cp", path, "Play"], "JDBC", leaks=[], address=address
        )
    checks.done("JDBC and HikariCP, as docs/clients.md has them")


main()
