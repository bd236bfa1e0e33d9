#!/usr/bin/env python3
"""Checks the pages of the documentation: lines of prose have at most 120 characters, links and their
anchors lead somewhere, and each file and function that docs/architecture.md names exists. Prints what
is wrong, and fails if anything is.

  scripts/pages.py PAGE ..."""

import os
import re
import sys

WIDTH = 120
LINK = re.compile(r"\]\(([^()\s]+)\)")
PATH = re.compile(r"`((?:src|crates|sql|scripts|pg_test)/[\w./-]*)`(?:: `(\w+)`)?")


def prose(text):
    """The numbers and lines outside of blocks of code."""
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            yield number, line


def read(path):
    with open(path) as file:
        return file.read()


def anchors(page):
    """The anchors that GitHub gives to the headings."""
    headings = [line.lstrip("#").strip() for _, line in prose(read(page)) if re.match(r"#+ ", line)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def faults(page):
    text = read(page)
    for number, line in prose(text):
        if len(line) > WIDTH and not line.startswith("|") and " " in line.strip():
            yield number, f"{len(line)} characters"
    folder = os.path.dirname(page)
    # A link may be broken across lines.
    for link in LINK.findall("\n".join(line for _, line in prose(text))):
        if re.match(r"\w+:", link):
            continue
        target, _, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(folder, target)) if target else page
        if not os.path.exists(target):
            yield 0, f"leads nowhere: {link}"
        elif anchor and target.endswith(".md") and anchor not in anchors(target):
            yield 0, f"no such heading: {link}"
    if page.endswith("architecture.md"):
        for path, function in PATH.findall(text.replace("\n", " ")):
            if not os.path.exists(path):
                yield 0, f"no such file: {path}"
            elif function and not re.search(rf"fn {function}\b", read(path)):
                yield 0, f"{path} has no function {function}"


def main():
    found = [f"{page}:{number}: {fault}" for page in sys.argv[1:] for number, fault in faults(page)]
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
