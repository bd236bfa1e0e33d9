"""Plans that the documentation shows, in the words of each version of Postgres: the table in
docs/performance.md has them."""

import re
from typing import NamedTuple

from .pg import ROOT

PAGE = "docs/performance.md"


class Words(NamedTuple):
    """A row of the table, after the versions."""

    added: str
    value: str
    own: str
    rows: str


def version(session):
    """The major version of the server."""
    return int(session.value("SHOW server_version_num")) // 10000


def table():
    """The words of each version."""
    with open(f"{ROOT}/{PAGE}") as file:
        rows = re.search(r"^\| Postgres \| InitPlan of .*\n\|[-|]+\n((?:\|.*\n)+)", file.read(), re.MULTILINE)[1]
    found = {}
    for row in rows.splitlines():
        versions, *cells = (cell.strip().strip("`") for cell in row.strip("|").split("|"))
        found |= dict.fromkeys(map(int, versions.split(", ")), Words(*cells))
    return found


def as_shown(plan, major):
    """The lines that a version shows of a plan, which the documentation shows as the newest one does.
    Has it several InitPlans, the table cannot tell their numbers."""
    words = table()
    newest, other = words[max(words)], words[major]
    for name, becomes in ((newest.added, other.added), (newest.own, other.own)):
        plan = plan.replace(newest.value.replace(newest.added, name), other.value.replace(other.added, becomes))
        plan = re.sub(rf"(?m)^( *){name}$", lambda line, becomes=becomes: line[1] + becomes, plan)
    if "." not in other.rows:
        plan = re.sub(r"(rows=\d+)\.\d+", r"\1", plan)
    return plan.splitlines()
