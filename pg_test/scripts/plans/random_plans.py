#!/usr/bin/env python3
"""Random statements give the same results with claim functions that are evaluated once and that are
called for each row. Runs a fixed number of them, always the same ones; with FUZZ_SECONDS, others
each time for that time. FUZZ_SEED and FUZZ_FIRST repeat a failure: the seed, and the number of the
statement."""

import os
import time

from lib import statements
from lib.pg import Checks, SharedCluster


def main():
    checks = Checks()
    cluster = SharedCluster()
    seconds = float(os.environ.get("FUZZ_SECONDS") or 0)
    seed = os.environ.get("FUZZ_SEED") or (f"{time.time():.0f}" if seconds else "1")
    first = int(os.environ.get("FUZZ_FIRST") or 0)
    count, raised = statements.fuzz(cluster, cluster.create_db("test_random_plans"), checks, seed, seconds, 300, first)
    checks.true("most statements run", raised < count * 0.5)
    checks.done(
        "random statements give the same, "
        f"evaluated once or for each row: seed {seed}, {count} statements, {raised} raised"
    )


main()
