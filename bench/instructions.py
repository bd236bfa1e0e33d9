"""Counts instructions of a backend with callgrind. Other load on the machine changes nothing, so
that differences of a percent, which no clock can tell here, are told; what happens in the kernel,
in the client and between caches is not in it."""

import os
import re
import shutil
import time


class Counting:
    """Restarts the cluster's server under callgrind for the `with`."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.counts = f"{cluster.dir}/counts"

    @staticmethod
    def is_possible():
        return shutil.which("valgrind") is not None

    def __enter__(self):
        self.cluster.as_pg("pg_ctl", "stop", "-s", "-D", "data", "-m", "fast")
        wrapper = f"{self.cluster.dir}/counted"
        with open(wrapper, "w") as file:
            file.write(
                "#!/bin/bash\nunset RUST_BACKTRACE\nmkdir -p counts\nexec "
                "valgrind -q --tool=callgrind --trace-children=yes "
                f'--callgrind-out-file={self.counts}/%p "{self.postgres()}" "$@"\n'
            )
        os.chmod(wrapper, 0o755)
        self.cluster.as_pg("pg_ctl", "start", "-s", "-w", "-t", "120", "-D", "data", "-l", "log", "-p", wrapper)
        return self

    def __exit__(self, *_):
        self.cluster.as_pg("pg_ctl", "stop", "-s", "-D", "data", "-m", "fast")
        self.cluster.script("start")

    def postgres(self):
        return self.cluster.client("pg_config", "--bindir").strip() + "/postgres"

    def of(self, dbname, use, user="authenticated"):
        """Instructions of one backend in which use(session) is done, to its end; among them those
        of the postmaster before it forked, so that only differences say anything."""
        session = self.cluster.session(dbname, user)
        use(session)
        backend = session.backend
        session.close()
        path, deadline = f"{self.counts}/{backend}", time.time() + 60
        while time.time() < deadline:
            if os.path.exists(path):
                with open(path) as file:
                    found = re.search(r"^summary: (\d+)", file.read(), re.M)
                if found:
                    return int(found[1])
            time.sleep(0.05)
        raise TimeoutError(path)
