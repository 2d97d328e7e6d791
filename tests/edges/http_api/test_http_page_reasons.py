"""The daemon's reasons on the pages: put in words of the person's language, or told as they are."""

import json
import re
import shutil
from typing import Any

import pytest

from ollama_proxyd.core.reasons import Reason, reason_fields
from ollama_proxyd.core.sentences import SENTENCES
from tests.edges.http_api.test_http_page_scripts import run

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
_FIELD = re.compile(r"\{(\w+)(?::([^}]*))?\}")
_OPTIONAL = re.compile(r"\[[^\]]*\]")


def examples(code: str, *, whole: bool) -> dict[str, Any]:
    """Values for a code: all, or only those that it needs."""
    found = dict(_FIELD.findall(SENTENCES[code]))
    names = found if whole else dict(_FIELD.findall(_OPTIONAL.sub("", SENTENCES[code])))
    return {name: _example(name, found[name]) for name in names}


def _example(name: str, form: str) -> Any:
    if form == "?":
        return True
    return 12.28 if form not in {"", "quoted"} else f"a {name}"


@pytest.mark.parametrize("whole", [True, False])
def test_a_template_is_filled_as_the_daemon_fills_it(whole: bool) -> None:
    values = {code: examples(code, whole=whole) for code in SENTENCES}
    expression = (
        f"Object.entries({json.dumps(values)}).map(([code, each]) => it.render({json.dumps(SENTENCES)}[code], each))"
    )
    told = dict(zip(values, run("reasons.js", expression), strict=True))
    assert told == {code: str(Reason(code, **each)) for code, each in values.items()}


def in_german(reason: Reason) -> Any:
    return run("reasons.js", f"it.phrase({json.dumps(reason_fields(reason))})", "de-DE")


def test_a_reason_within_a_reason_a_mode_and_a_number_are_in_the_persons_language_and_names_are_left_alone() -> None:
    busy = Reason(
        "mode_power",
        backend_id="Quiet",
        power_watts=12.5,
        limit_watts=8.0,
        mode_label="Auto (Balanced, in the background)",
    )
    refused = Reason("all_refused", rejections=(busy,), advice="allow the request more time")
    limit = "Quiet braucht 12,5 W, und Auto (Ausgeglichen, im Hintergrund) erlaubt höchstens 8 W"
    assert in_german(refused) == {"text": f"{limit}; geben Sie der Anfrage mehr Zeit", "lang": "de"}
    pending = Reason(
        "mode_change_pending", mode="Quiet", next_mode="UltraEfficiency", dwell_seconds=30.0, reason=Reason("on_mains")
    )
    assert (
        in_german(pending)["text"] == "Leise bleibt bis 30 s nach seinem letzten Wechsel; dann Ultra-Effizienz: am Netz"
    )


def test_what_has_no_words_stays_the_daemons_and_is_marked_as_english() -> None:
    for told in (
        {"reason": "a newer daemon's", "reason_code": "newer", "reason_details": {}},
        {"reason": "a newer daemon's", "reason_code": "on_mains_since", "reason_details": {"left": None}},
        {"reason": "a newer daemon's", "reason_code": "fails_gone", "reason_details": {}},
        {"reason": "a newer daemon's", "reason_code": "toString", "reason_details": {}},
        {"reason": "a newer daemon's"},
        reason_fields(Reason("backend_down", detail="a newer daemon's")),
    ):
        assert run("reasons.js", f"it.phrase({json.dumps(told)})", "fr-FR") == {
            "text": "a newer daemon's",
            "lang": "en",
        }
    assert (
        run("reasons.js", "[it.phrase(null), it.phrase({reason: null, reason_code: null})]", "fr")
        == [{"text": "", "lang": "en"}] * 2
    )
