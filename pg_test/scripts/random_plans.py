#!/usr/bin/env python3
"""Random statements give the same with claim functions that are evaluated once as with those called for each
row. So many of them, always the same ones; in the time that FUZZ_SECONDS gives, others each time. FUZZ_SEED
and FUZZ_FIRST run again what failed: the seed, and the number of a statement."""

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
    checks.done(f"random statements give the same, evaluated once or for each row: seed {seed}, {count} statements, {raised} raised")


main()
