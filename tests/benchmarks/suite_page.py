"""The table as one HTML page with a bar plot for each row: Sluice, the peers, the machine's limit. It needs nothing else."""

import html
import re

COLORS = {"sluice": "#1565c0", "tensorflow": "#ef6c00", "torch": "#c62828", "torch_compile": "#e57373", "jax": "#6a1b9a"}
_STYLE = """body{font:14px/1.45 system-ui,sans-serif;margin:24px;max-width:1100px;color:#222;background:#fff}
h1{font-size:21px;margin:0}h2{font-size:16px;margin:26px 0 4px}p{margin:4px 0 12px;color:#555}
.row{display:inline-block;vertical-align:top;width:520px;margin:6px 12px 10px 0}svg text{font:12px system-ui,sans-serif;fill:#333}
.t{font-weight:600}.h{color:#777;font-size:12px}table{border-collapse:collapse}td{padding:1px 12px 1px 0}"""


def history(text):
    """{row's title: [(milestone, figure as text)]}, oldest first, from the tables of RESULTS.md."""
    found = {}
    for section in reversed(re.split(r"^## ", text, flags=re.MULTILINE)[1:]):
        milestone = section.split("\n", 1)[0]
        seen = set()
        for line in section.splitlines():
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if line.startswith("|") and len(cells) > 2 and cells[0] not in seen and re.match(r"^[\d.e+]+$", cells[2]):
                seen.add(cells[0])
                found.setdefault(cells[0], []).append((milestone, "%s %s" % (cells[2], cells[1])))
    return found


def bars(row):
    """One row as a picture. row: {title, unit, values: {library: number}, limit: number or None, better: ...}."""
    values = row["values"]
    top = max([*values.values(), row["limit"] or 0]) or 1
    width, left, height = 520, 105, 20
    out = ["<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\">" % (width, height * len(values) + 6, width)]
    scale = (width - left - 80) / top
    for i, (library, value) in enumerate(values.items()):
        y = 2 + i * height
        out.append("<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>" % (left - 6, y + 13, html.escape(library)))
        out.append("<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>"
                   % (left, y + 2, max(1.0, value * scale), height - 5, COLORS.get(library, "#607d8b")))
        out.append("<text x=\"%.1f\" y=\"%d\">%.3g</text>" % (left + max(1.0, value * scale) + 5, y + 13, value))
    if row["limit"]:
        x = left + row["limit"] * scale
        out.append("<line x1=\"%.1f\" y1=\"0\" x2=\"%.1f\" y2=\"%d\" stroke=\"#2e7d32\" stroke-width=\"2\" stroke-dasharray=\"4 2\"/>"
                   % (x, x, height * len(values) + 4))
    return "\n".join(out + ["</svg>"])


def page(tables, facts, machine, results_text):
    """tables: [(heading, [row])]; facts: [(name, text)]; machine: a sentence."""
    past = history(results_text)
    out = ["<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Sluice: benchmarks</title><style>%s</style></head><body>" % _STYLE,
           "<h1>Benchmarks</h1>", "<p>%s Shorter is better; the dashed line is the machine's limit.</p>" % html.escape(machine)]
    for heading, rows in tables:
        out.append("<h2>%s</h2>" % html.escape(heading))
        for row in rows:
            if not row["values"]:
                continue
            notes = []
            if row["percent"] is not None:
                notes.append("%.0f %% of the limit" % row["percent"])
            if row["ratio"] is not None:
                notes.append("%.2f times the best peer" % row["ratio"])
            before = past.get(row["title"], [])
            if before:
                notes.append("before: " + ", ".join("%s (%s)" % (figure, milestone) for milestone, figure in before))
            out.append("<div class=\"row\"><div class=\"t\">%s, %s</div>%s<div class=\"h\">%s</div></div>"
                       % (html.escape(row["title"]), html.escape(row["unit"]), bars(row), html.escape("; ".join(notes))))
    out.append("<h2>Counts and sizes</h2><table>")
    out += ["<tr><td>%s</td><td>%s</td></tr>" % (html.escape(name), html.escape(text)) for name, text in facts]
    out.append("</table></body></html>\n")
    return "\n".join(out)
