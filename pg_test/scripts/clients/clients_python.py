#!/usr/bin/env python3
"""The Python of docs/clients.md, with the real packages: as clients_node does for JavaScript."""

import os
import shutil
import sys

from lib import clients, packages
from lib.pg import HERE, Checks, Cluster

# The sides of an error that have the token, the place of the SQLSTATE, and the error's class.
CLIENTS = {
    "psycopg": ([], "code", "OperationalError"),
    "asyncpg": ([], "code", "UnknownPostgresError"),
    "sqlalchemy": (["hidden"], "orig", "OperationalError"),
    "sqlalchemy_async": (["hidden"], "orig", "DBAPIError"),
    "django": ([], "cause", "OperationalError"),
}


def main():
    checks = Checks()
    folder = packages.from_pypi(checks, "clients_python", "clients/requirements.txt")
    blocks = {
        "python_errors": "errors.py",
        "django_settings": "django_settings.py",
        **{name: f"{name}_client.py" for name in CLIENTS},
    }
    clients.write_blocks(folder, blocks)
    shutil.copy(f"{HERE}/clients/run.py", folder)
    os.environ["PYTHONPATH"] = f"{folder}/packages"
    with Cluster("clients_python") as cluster:
        db = clients.database(cluster)
        for name, (leaks, code, kind) in CLIENTS.items():
            clients.play(checks, cluster, db, [sys.executable, f"{folder}/run.py"], name, leaks, code, kind)
    checks.done(f"{', '.join(CLIENTS)}: as docs/clients.md has them")


main()
