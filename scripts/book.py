#!/usr/bin/env python3
"""Makes a book of the documentation, with a table of contents and a search, by mdBook: of README.md and docs/, in the
order of docs/SUMMARY.md. Links to other files of the repository lead to its web site. Prints what is wrong, and fails
if anything is: a page that the summary lacks, a link or an anchor of the book that leads nowhere.

  scripts/book.py MDBOOK FOLDER     MDBOOK is the program; the book is then in FOLDER/book"""

import os
import re
import shutil
import subprocess
import sys

REPOSITORY = "https://github.com/pg-auth-jwt/pg_auth_jwt"
CONFIG = f"""
[book]
title = "pg_auth_jwt"
language = "en"

[build]
create-missing = false

[output.html]
git-repository-url = "{REPOSITORY}"
no-section-label = true
default-theme = "light"

[output.html.print]
enable = false
"""
LINK = re.compile(r"(\]\(|src=\")([^()\s\"]+)")
# The names in the book, whose pages are all in one folder, of those that are not in docs/. The summary is what
# docs/README.md is to a reader of the repository.
NAMES = {
    "README.md": "introduction.md",
    "docs/README.md": "introduction.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def in_book(page, link):
    """Where a link of a page of the repository leads in the book."""
    target, hash_sign, anchor = link.partition("#")
    if re.match(r"\w+:", link) or not target:
        return link
    path = os.path.normpath(os.path.join(os.path.dirname(page), target))
    if path in NAMES:
        return NAMES[path] + hash_sign + anchor
    folder, name = os.path.split(path)
    if folder == "docs" and os.path.isfile(path):
        return name + hash_sign + anchor
    return f"{REPOSITORY}/blob/main/{path}{hash_sign}{anchor}"


def pages():
    """The pages of the summary, by their names in the book."""
    names = re.findall(r"\]\(([\w./]+\.md)\)", read("docs/SUMMARY.md"))
    return {os.path.basename(in_book("docs/SUMMARY.md", name)): os.path.normpath(f"docs/{name}") for name in names}


def write_sources(folder):
    for name, page in (pages() | {"SUMMARY.md": "docs/SUMMARY.md"}).items():
        text = LINK.sub(lambda found, page=page: found[1] + in_book(page, found[2]), read(page))
        write(f"{folder}/src/{name}", text)
    for name in os.listdir("docs"):
        if not name.endswith(".md"):
            shutil.copy(f"docs/{name}", f"{folder}/src")


def faults(book):
    """Links between the pages of the book that lead nowhere."""
    html = {name: read(f"{book}/{name}") for name in os.listdir(book) if name.endswith(".html")}
    ids = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in html.items()}
    for name, text in html.items():
        for link in re.findall(r'<a [^>]*?href="([^"]+)"', text):
            target, _, anchor = link.partition("#")
            if re.match(r"\w+:", link) or name in ("404.html", "toc.html", "print.html"):
                continue
            target = target or name
            if not os.path.exists(f"{book}/{target}"):
                yield f"{name}: leads nowhere: {link}"
            elif anchor and anchor not in ids[target]:
                yield f"{name}: no such heading: {link}"


def main():
    mdbook, folder = sys.argv[1:]
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(f"{folder}/src")
    write(f"{folder}/book.toml", CONFIG)
    write_sources(folder)
    there = {f"docs/{name}" for name in os.listdir("docs") if name.endswith(".md")}
    missing = there - {*pages().values(), "docs/README.md", "docs/SUMMARY.md"}
    found = [f"{page}: not in docs/SUMMARY.md" for page in sorted(missing)]
    run = subprocess.run(
        [mdbook, "build", folder], check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if run.returncode or "WARN" in run.stdout:
        found.append(run.stdout.strip())
    else:
        found += faults(f"{folder}/book")
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
