#!/usr/bin/env python3
"""Draws docs/performance.svg from what bench/run.py measured, which calls it; by itself draws the
same again:

  bench/plot.py"""

import json
import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIGURES, DRAWING = f"{ROOT}/target/bench.json", f"{ROOT}/docs/performance.svg"
# The parts of the bench whose figures are drawn.
DRAWN = {"scans", "connections", "transactions", "sizes"}

WIDTH, LEFT, RIGHT = 860, 400, 70
OURS, OTHERS, INK, FAINT = "#2a6fb0", "#a9b0b8", "#222", "#666"


def text(x, y, words, **attributes):
    escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    attributes = {"fill": INK, **attributes}
    return f'<text x="{x:.1f}" y="{y:.1f}"{_all(attributes)}>{escaped}</text>'


def line(path, **attributes):
    return f'<path d="{path}"{_all({"stroke": FAINT, "fill": "none", **attributes})}/>'


def _all(attributes):
    return "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())


def heading(title, note, top):
    return [text(10, top + 22, title, font_weight="bold", font_size=15), text(10, top + 41, note, fill=FAINT)], top + 52


def bars(title, note, unit, groups, top, base=None):
    """`groups` are (what its bars have in common, whether they are ours, [(name, number)]). `base`
    is a number to be marked, and its name. Returns the drawing and its end."""
    drawn, y = heading(title, note, top)
    scale = (WIDTH - LEFT - RIGHT) / max(number for _, _, values in groups for _, number in values)
    begin = y
    for common, ours, values in groups:
        drawn.append(text(10, y + 15, common, font_style="italic", fill=OURS if ours else FAINT))
        y += 22
        for name, number in values:
            drawn += [
                text(LEFT - 8, y + 13, name, text_anchor="end"),
                (
                    f'<rect x="{LEFT}" y="{y}" width="{max(number * scale, 1):.1f}" '
                    f'height="17" fill="{OURS if ours else OTHERS}"/>'
                ),
                text(LEFT + number * scale + 6, y + 13, f"{number:.2f}{unit}"),
            ]
            y += 22
    if base:
        number, name = base
        x = LEFT + number * scale
        drawn += [
            line(f"M{x:.1f} {begin + 20}V{y}", stroke_dasharray="3 3"),
            text(x, begin + 15, name, fill=FAINT, text_anchor="middle"),
        ]
    return drawn, y + 26


def lines(title, note, across_name, across, series, top, to_scale=False):
    """`series` are (name, whether it is ours, numbers), one number for each of `across`, which are
    evenly apart or to scale."""
    drawn, top = heading(title, note, top)
    left, height = 70, 150
    most = max(number for _, _, numbers in series for number in numbers)
    width, base = WIDTH - left - 290, top + 8 + height
    at = [
        left + (number / across[-1] if to_scale else index / (len(across) - 1)) * width
        for index, number in enumerate(across)
    ]
    drawn += [
        line(f"M{left} {top + 8}V{base}H{left + width}"),
        text(left - 6, top + 14, f"{most:,.0f}", text_anchor="end"),
        text(left - 6, base + 4, "0", text_anchor="end"),
        text(left + width / 2, base + 36, across_name, fill=FAINT, text_anchor="middle"),
    ]
    labelled = [index for index in range(len(across)) if index == 0 or at[index] - at[index - 1] > 30]
    drawn += [text(at[index], base + 18, f"{across[index]:,}", text_anchor="middle") for index in labelled]
    placed = []
    for name, ours, numbers in series:
        points = [(x, base - number / most * height) for x, number in zip(at, numbers)]
        colour = OURS if ours else OTHERS
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        drawn.append(line(f"M{path}", stroke=colour, stroke_width=2))
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        # Names of lines that end together stand one above the other.
        y = points[-1][1]
        while any(abs(y - other) < 16 for other in placed):
            y += 16
        placed.append(y)
        drawn.append(text(points[-1][0] + 10, y + 4, name, fill=OURS if ours else FAINT))
    return drawn, base + 62


def panels(figures):
    """Functions from a start to a drawing and its end."""
    scans, connections, transactions, sizes = (
        figures[part] for part in ("scans", "connections", "transactions", "sizes")
    )
    yield lambda top: bars(
        "How long it takes to read 1,000,000 rows through a row-level security policy",
        "As a multiple of the time with a constant in the policy: owner = '0b9d8c3e-…'. Shorter is better.",
        "×",
        [
            (
                "pg_auth_jwt: USING (…), the claims of a verified token",
                True,
                [(name, ratio) for name, ratio, kind in scans if kind == "ours"],
            ),
            (
                "The least that a function called for each row takes",
                False,
                [(name, ratio) for name, ratio, kind in scans if kind == "each row"],
            ),
            (
                "Claims in a setting, which any SQL on the connection can change",
                False,
                [(name, ratio) for name, ratio, kind in scans if kind == "setting"],
            ),
        ],
        top,
        base=(1, "a constant"),
    )
    yield lambda top: bars(
        "How long it takes to connect and to have the first statements answered",
        (
            "Milliseconds, without a pooler. "
            "The extension's library is loaded at its first use, or has been since the server was started."
        ),
        " ms",
        [
            ("Without the extension", False, connections["without"]),
            ("pg_auth_jwt, loaded at its first use", True, connections["at first use"]),
            ("pg_auth_jwt, loaded with the server by shared_preload_libraries", True, connections["with the server"]),
        ],
        top,
    )
    yield lambda top: lines(
        "How many short transactions a second, in connections that stay",
        (
            "BEGIN; sign in; SELECT one row by its key; "
            "COMMIT. Both ways to sign in at the same time, on two cores. Higher is better."
        ),
        "connections of each",
        transactions["across"],
        [
            ("set_config(…): nothing is verified", False, transactions["set_config"]),
            ("auth.jwt_session_init($1): a token seen before", True, transactions["jwt_session_init"]),
        ],
        top,
    )
    yield lambda top: lines(
        "How long it takes to verify a token, by its length",
        "Microseconds, HS256. Lower is better.",
        "bytes of the token",
        sizes["across"],
        [
            ("the first time in a connection", True, sizes["first"]),
            ("seen before in that connection", True, sizes["seen"]),
        ],
        top,
        to_scale=True,
    )


def draw(figures):
    drawn, top = [], 0
    for panel in panels(figures):
        more, top = panel(top)
        drawn += more
    with open(DRAWING, "w") as file:
        file.write(
            "\n".join(
                [
                    (
                        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
                        f'height="{top}" font-family="sans-serif" font-size="12">'
                    ),
                    '<rect width="100%" height="100%" fill="white"/>',
                    *drawn,
                    "</svg>\n",
                ]
            )
        )


def known():
    """The figures that were kept, by part of the bench."""
    if not os.path.exists(FIGURES):
        return {}
    with open(FIGURES) as file:
        return json.load(file)


def keep_and_draw(figures):
    """Keeps the figures of the parts that were run now beside the others, and draws them once all
    that are drawn are there."""
    figures = {**known(), **figures}
    with open(FIGURES, "w") as file:
        json.dump(figures, file, indent=1)
    if figures.keys() >= DRAWN:
        draw(figures)


if __name__ == "__main__":
    draw(known())
