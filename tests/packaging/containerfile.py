"""The image's recipe as its builders read it (the Dockerfile reference, "Format")."""

from tests.real_things import ROOT

RECIPE = ROOT / "container" / "Containerfile"
Stage = list[tuple[str, str]]


def instructions() -> list[Stage]:
    """The instructions of each stage, FROM first, each a word and the rest."""
    lines = [line for line in RECIPE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, " ".join(rest.split())))
    return stages
