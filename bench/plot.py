"""Draws docs/performance.svg, of bars and of lines."""

WIDTH, LEFT, RIGHT = 760, 330, 70
OURS, OTHERS = "#2a6fb0", "#b8bec6"


def text(x, y, words, **attributes):
    escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<text x="{x:.1f}" y="{y:.1f}"{_all(attributes)}>{escaped}</text>'


def _all(attributes):
    return "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())


def bars(title, values, top):
    """`values` are (name, number, whether it is ours). Returns the drawing and its end."""
    scale = (WIDTH - LEFT - RIGHT) / max(value for _, value, _ in values)
    drawn = [text(10, top + 20, title, font_weight="bold")]
    for index, (name, value, ours) in enumerate(values):
        y = top + 34 + index * 26
        drawn += [text(LEFT - 8, y + 14, name, text_anchor="end"),
                  f'<rect x="{LEFT}" y="{y}" width="{max(value * scale, 1):.1f}" height="18" fill="{OURS if ours else OTHERS}"/>',
                  text(LEFT + value * scale + 6, y + 14, f"{value:.2f}×")]
    return drawn, top + 34 + len(values) * 26 + 20


def lines(title, unit, across, series, top, to_scale=False):
    """`series` are (name, numbers, whether it is ours), one number for each of `across`, which are
    evenly apart or to scale."""
    left, height = 70, 150
    most = max(number for _, numbers, _ in series for number in numbers)
    width, base = WIDTH - left - 190, top + 40 + height
    at = [left + (number / across[-1] if to_scale else index / (len(across) - 1)) * width for index, number in enumerate(across)]
    drawn = [text(10, top + 20, title, font_weight="bold"),
             f'<path d="M{left} {top + 40}V{base}H{left + width}" stroke="#888" fill="none"/>',
             text(left - 6, top + 46, f"{most:,.0f}", text_anchor="end"), text(left - 6, base + 4, "0", text_anchor="end"),
             text(WIDTH - 10, base + 18, unit, text_anchor="end")]
    labelled = [index for index in range(len(across)) if index == 0 or at[index] - at[index - 1] > 30]
    drawn += [text(at[index], base + 18, f"{across[index]:,}", text_anchor="middle") for index in labelled]
    placed = []
    for name, numbers, ours in series:
        points = [(x, base - number / most * height) for x, number in zip(at, numbers)]
        colour = OURS if ours else OTHERS
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        drawn.append(f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        # Names of lines that end together stand one above the other.
        y = points[-1][1]
        while any(abs(y - other) < 14 for other in placed):
            y += 14
        placed.append(y)
        drawn.append(text(points[-1][0] + 8, y + 4, name, fill=OURS if ours else "#666"))
    return drawn, base + 40


def write(path, panels):
    """`panels` are functions from a start to a drawing and its end."""
    drawn, top = [], 0
    for panel in panels:
        more, top = panel(top)
        drawn += more
    with open(path, "w") as file:
        file.write("\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" font-family="sans-serif" font-size="12">',
            '<rect width="100%" height="100%" fill="white"/>', *drawn, "</svg>\n"]))
