"""The sentence of each reason about feature flags and about quantisations, by its code."""

from collections.abc import Mapping

FEATURES: Mapping[str, str] = {
    "feature_request": "each request asks for {option}",
    "feature_restart": "no request can say it; restart {engine} with {option}",
    "feature_own_engine": "it starts {engine} with {option}, and replaces one without after the requests under way",
    "feature_by_engine": "{engine} does it by itself: {option}",
    "feature_slots": "up to {slots:g} requests at once go to it",
    "feature_affinity": "routing counts what each backend has read of a prompt, in joules",
    "feature_lower_tier": "advice about quantisation is one tier lower",
    "feature_advice": "a pull is answered with the quantisation that fits",
    "feature_not_here": "not possible here: {detail}",
    "tags_not_listed": "only models that backends hold are listed: Ollama tells no tags of its registry",
    "memory_unknown": "its device does not tell how much memory it has",
    "nothing_fits": "the smallest needs {needed_gb:.1f} GB, and {free_gb:.1f} GB can be had",
}
