"""Pgpool-II in front of a primary and its standby, which gets all reads that may go to it."""

import os
import shutil
import subprocess
import sys
import time

from .pg import HERE, PgError, Session, shell

PORT = 9999
# Debian's package, unpacked by scripts/setup.
TREE = shell("echo $PGROOT") + "/pgpool"
PROGRAM = f"{TREE}/usr/sbin/pgpool"


def is_here():
    return os.path.exists(PROGRAM)


class Pgpool:
    """Runs while a `with` lasts, on a socket beside the primary's."""

    def __init__(self, primary, standby, dbname, **settings):
        self.dir, self.dbname = f"{primary.dir}/pgpool", dbname
        os.makedirs(f"{self.dir}/oid", exist_ok=True)
        settings = {
            "backend_clustering_mode": "streaming_replication",
            "listen_addresses": "",
            "pcp_listen_addresses": "",
            "port": PORT,
            "socket_dir": self.dir,
            "pcp_socket_dir": self.dir,
            "pcp_port": PORT - 1,
            "pid_file_name": f"{self.dir}/pid",
            "logdir": self.dir,
            "memqcache_oiddir": f"{self.dir}/oid",
            "num_init_children": 4,
            "backend_hostname0": primary.dir,
            "backend_port0": 5432,
            "backend_weight0": 0,
            "backend_hostname1": standby.dir,
            "backend_port1": 5432,
            "backend_weight1": 1,
            "sr_check_user": "postgres",
            "pool_passwd": "",
            **settings,
        }
        with open(f"{self.dir}/conf", "w") as conf:
            conf.write("".join(f"{name} = '{value}'\n" for name, value in settings.items()))
        shell('chown -R "$PG_USER" "$1"', self.dir)
        libraries = f"{TREE}/usr/lib/x86_64-linux-gnu"
        with open(f"{self.dir}/log", "w") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", '. "$0/scripts/lib.sh"; as_pg env LD_LIBRARY_PATH="$1" "$2" -n -f "$3/conf"']
                + [os.path.dirname(HERE), libraries, PROGRAM, self.dir],
                stdout=log,
                stderr=log,
            )
        for _ in range(500):
            try:
                self.session().close()
                return
            except (OSError, PgError):  # missing, or not listening yet
                time.sleep(0.02)
        sys.exit(f"Pgpool-II does not start:\n{self.log()[-2000:]}")

    def session(self, user="authenticated"):
        return Session(self.dbname, user, host=self.dir, port=PORT)

    def log(self):
        with open(f"{self.dir}/log", errors="replace") as file:
            return file.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shell('as_pg kill -INT "$(tr -d "\\0" <"$1/pid")"', self.dir)
        self.process.wait()
        shutil.rmtree(self.dir)
