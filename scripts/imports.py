#!/usr/bin/env python3
"""Finds circles among the imports of the Rust modules, at every level: between files, and between
the folders of each folder. Prints each circle as a path and fails if there is one.

  scripts/imports.py SOURCE ...    each the folder of a crate that has lib.rs

An import is a path that begins with crate:: or super::, in a `use` or in an expression. Tests and
comments are left out. Between a folder's mod.rs and the files of that folder nothing counts: they
are one module."""

import os
import re
import sys

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
STRING = re.compile(r'r(#*)".*?"\1|"(?:[^"\\]|\\.)*"', re.S)
PATH = re.compile(r"(?<![\w:$])(crate|super)((?:\s*::\s*(?:\w+|\{[^;{}]*(?:\{[^;{}]*\}[^;{}]*)*\}))+)")


def without_tests(text):
    """The text without its `#[cfg(test)] mod NAME { ... }`."""
    while found := re.search(r"#\[cfg\((?:test|any\(test[^\n]*)\)\]\s*(?:pub )?mod \w+ \{", text):
        depth, at = 1, found.end()
        while depth and at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        text = text[: found.start()] + text[at:]
    return text


def expand(tail):
    """The paths that a tail such as `::a::{b, c::d}` names, as lists of names."""
    tail = re.sub(r"\s+", "", tail)
    if "{" not in tail:
        return [[part for part in tail.split("::") if part]]
    head, rest = tail.split("{", 1)
    head = [part for part in head.split("::") if part]
    items, depth, item = [], 0, ""
    for char in rest[:-1] + ",":
        if char == "," and not depth:
            items.append(item)
            item = ""
        else:
            depth += {"{": 1, "}": -1}.get(char, 0)
            item += char
    return [head + more for item in items if item for more in expand("::" + item)]


def modules(source):
    """The module path of each file, as a tuple: `()` is lib.rs."""
    found = {}
    for folder, _, files in os.walk(source):
        for file in files:
            if file.endswith(".rs"):
                path = os.path.join(folder, file)
                parts = os.path.relpath(path, source)[:-3].split(os.sep)
                if parts[-1] in ("mod", "lib"):
                    parts.pop()
                found[tuple(parts)] = path
    return found


def imports(source):
    """The files that each file imports from, by module path."""
    files = modules(source)
    arrows = {}
    for module, path in files.items():
        with open(path) as file:
            text = without_tests(STRING.sub('""', COMMENT.sub("", file.read())))
        to = arrows.setdefault(module, set())
        for start, tail in PATH.findall(text):
            for names in expand(tail):
                base = () if start == "crate" else module[:-1]
                while start == "super" and names and names[0] == "super":
                    base, names = base[:-1], names[1:]
                whole = base + tuple(names)
                # The longest beginning that is a file.
                target = next(whole[:n] for n in range(len(whole), -1, -1) if whole[:n] in files)
                if target not in (module, ()) and not is_inside(module, target):
                    to.add(target)
    return arrows


def is_inside(module, target):
    """Whether one is the mod.rs of a folder, and the other is in that folder."""
    return module == target[: len(module)] or target == module[: len(target)]


def circle(arrows):
    """The shortest circle through the first node that has one, as a list whose first and last are
    equal; or None."""
    for start in sorted(arrows):
        paths, seen = [[start]], set()
        while paths:
            path = paths.pop(0)
            for target in sorted(arrows.get(path[-1], ())):
                if target == start:
                    return [*path, start]
                if target not in seen:
                    seen.add(target)
                    paths.append([*path, target])
    return None


def circles(arrows):
    """The circles: one between files, and one between the rooms of each folder."""
    yield "files", circle(arrows)
    folders = {module[:n] for module in arrows for n in range(len(module))}
    for folder in sorted(folders):
        depth = len(folder)
        rooms = {}
        for module, targets in arrows.items():
            if module[:depth] == folder and len(module) > depth:
                to = rooms.setdefault(module[: depth + 1], set())
                to.update(
                    target[: depth + 1]
                    for target in targets
                    if target[:depth] == folder and len(target) > depth and target[: depth + 1] != module[: depth + 1]
                )
        yield "rooms of " + ("::".join(("crate", *folder))), circle(rooms)


def main():
    found = 0
    for source in sys.argv[1:]:
        for level, path in circles(imports(source)):
            if path:
                found += 1
                print(f"{source}: circle between {level}: " + " -> ".join("::".join(module) for module in path))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
