"""The rows of a simulated machine as JSON, and such a file as a table of Markdown; scripts/plot uses both."""

import json
import sys
from pathlib import Path
from typing import Any

from ollama_proxyd.sim.comparing import Question, rows

COLUMNS = {
    "energy_joules": "J",
    "active_joules": "answers",
    "load_joules": "loading",
    "tail_joules": "tail",
    "ttft_p50_seconds": "first word p50 s",
    "ttft_p95_seconds": "p95 s",
    "waiting_seconds": "waits s",
    "p95_seconds": "p95 s",
    "missed_percent": "late %",
    "refused": "refused",
    "background_seconds": "background s",
    "battery_hours": "battery h",
    "gap_percent": "above bound %",
}


def figure(value: Any) -> str:
    """Three digits that mean something."""
    return "" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(found: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [f"| | {' | '.join(COLUMNS.values())} |", f"| --- |{' ---: |' * len(COLUMNS)}"]
    lines += [f"| {row['name']} | {' | '.join(figure(row.get(key)) for key in COLUMNS)} |" for row in found]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1] == "--table":
        print(table(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))))
    else:
        print(json.dumps(list(rows(Question(sys.argv[1], with_baselines=True, seeds=int(sys.argv[2]))))))
