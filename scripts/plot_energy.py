"""Draws joules against waiting: `plot_energy.py ROWS.json PICTURE.png`. Needs only matplotlib."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

CLOSE = 0.03
"""Points that lie closer than this, as a share of each value, have one label."""
FAR_S = 50
"""Labels of points beyond it stand at their left, as there is no room."""
TICKS_S = (1, 2, 3, 5, 10, 20, 50, 100)
MODES = ("Performance", "Balanced", "Efficiency", "Quiet", "UltraEfficiency")


def labels(rows: list[dict[str, Any]]) -> list[tuple[tuple[float, float], list[str]]]:
    """The names at each place, so that those of points that lie together can be read."""
    found: list[tuple[tuple[float, float], list[str]]] = []
    for row in rows:
        place = (row["waiting_seconds"], row["energy_joules"])
        for (wait_s, joules), names in found:
            if abs(place[0] / wait_s - 1) < CLOSE and abs(place[1] / joules - 1) < CLOSE:
                names.append(row["name"])
                break
        else:
            found.append((place, [row["name"]]))
    return found


def main(source: str, target: str) -> None:
    """Draw one picture."""
    mpl.use("Agg")
    rows = json.loads(Path(source).read_text(encoding="utf-8"))
    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    for row in rows:
        is_mode = row["name"] in MODES or row["name"] == "Auto"
        unloads = row["name"].endswith(", unloading")
        colour, marker = ("tab:blue", "o") if is_mode else ("tab:gray", "^" if unloads else "s")
        place = (row["waiting_seconds"], row["energy_joules"])
        axes.scatter(*place, c=colour, marker=marker, s=45 if is_mode else 25, zorder=3)
    for place, names in labels(rows):
        is_mode = any(name in (*MODES, "Auto") for name in names)
        to_left = is_mode or place[0] > FAR_S
        shift, side = ((4 if is_mode else -6, -6 if is_mode else 4), "right") if to_left else ((6, 4), "left")
        # Modes lie close together: their names slant, so that none covers the next.
        slant = {"rotation": 45, "va": "top", "fontsize": 9} if is_mode else {"fontsize": 7}
        axes.annotate("; ".join(names), place, xytext=shift, textcoords="offset points", ha=side, **slant)
    front = sorted((row["waiting_seconds"], row["energy_joules"]) for row in rows if row["name"] in MODES)
    axes.plot(*zip(*front, strict=True), c="tab:blue", lw=1)
    axes.set(xscale="log", yscale="log", xlabel="mean waiting for an answer, s", ylabel="joules per request")
    axes.set_xticks(TICKS_S, minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.margins(0.12, 0.2)
    axes.grid(which="both", lw=0.3)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
