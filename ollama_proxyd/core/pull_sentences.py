"""The sentences of why a required model is not pulled now."""

from collections.abc import Mapping

PULLS: Mapping[str, str] = {
    "pull_waits_for_charger": "it waits for mains power; model_sync.on_battery allows it on battery",
    "pull_waits_for_network": "it waits for a connection that is not metered; model_sync.on_metered allows it on one",
    "pull_waits_for_backend": "it waits for {backend_id} to be up",
    "pull_waits_for_turn": "it waits for its turn; model_sync.max_parallel allows {limit} at the same time",
    "pull_failed": "{detail}",
}
