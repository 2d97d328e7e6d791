"""The sentence of each reason by its code; docs/reasons.md shows the same table.

`{name}` is a value, `{name:form}` one in a form: Python's own, `quoted`, or `figure` (two digits). A part in brackets
is left out where one of its values was not given or is false; `{name:?}` only asks for that and is not shown.
"""

from collections.abc import Mapping

from ollama_proxyd.core.engine_sentences import ENGINES
from ollama_proxyd.core.feature_sentences import FEATURES
from ollama_proxyd.core.note_sentences import NOTES
from ollama_proxyd.core.pull_sentences import PULLS

_POWER = "{backend_id} needs {power_watts:g} W[{is_measured:?} as measured]"
_LATENCY = "{backend_id} would begin to answer after about {latency_ms:.0f} ms"
_QUEUED = "[ ({queue_wait_ms:.0f} ms of it in the queue)]"
_HEAT = "the device of {backend_id} is at {temperature_celsius:g} °C"
_COST = (
    "needs [{is_estimated:?}an estimated ]{energy_joules:figure} J[, {money:figure} {currency}]"
    " and {time_seconds:figure} s[ ({queue_wait_seconds:figure} s of it in the queue)]"
    " for [{task} ]about {tokens:.0f} tokens"
)
_CAN = "can serve[{is_rest:?} the rest of] this[, not counting {former_backend_ids}, which had it before]"
_ONLY = f"{{mode_label}}: {{backend_id}} {_COST}; nothing else within the mode {_CAN}"
_MAINS = "on mains power with the battery at {battery_percent:g} %"

MODES: Mapping[str, str] = {
    "as_chosen": "as chosen",
    "as_asked": "as asked",
    "none_chosen": "the default, as none was chosen",
    "counts_in_auto_only": "{reason}; {imagined} would count in the mode Auto only",
    "comparison": "for comparison",
    "held": "held by {application_id}[: {detail}]",
    "mode_change_pending": ("{mode} stays until {dwell_seconds:g} s after its last change; then {next_mode}: {reason}"),
    "no_reading_yet": "no sensor has reported yet",
    "nothing_applies": "no reading asks for another mode",
    "on_battery": "on battery[ at {battery_percent:g} %]",
    "battery_low": "on battery at {battery_percent:g} %, below {limit_percent:g} %",
    "battery_still_low": "on battery at {battery_percent:g} %, not yet up to {limit_percent:g} %",
    "on_mains": "on mains power",
    "performance_profile": "on mains power, and the power profile is performance",
    "battery_full": f"{_MAINS}, above {{limit_percent:g}} %",
    "battery_still_full": f"{_MAINS}, not yet down to {{limit_percent:g}} %",
    "battery_charged": "on mains power, and the battery is charged as far as it may be[: {battery_percent:g} %]",
    "battery_not_full": f"{_MAINS}, not above {{limit_percent:g}} %",
    "power_saver_profile": "the power profile is power-saver",
    "quiet_hours": "these are the quiet hours",
    "hot": "the hottest device is at {temperature_celsius:g} °C, above {limit_celsius:g} °C",
    "still_hot": "the hottest device is at {temperature_celsius:g} °C, not yet down to {limit_celsius:g} °C",
    "fan_loud": "the fan runs at {fan_percent:g} %, above {limit_percent:g} %",
    "fan_still_loud": "the fan runs at {fan_percent:g} %, not yet down to {limit_percent:g} %",
    "performance_degraded": "the machine is throttled: {detail}",
    "budget_ultra": "today's {limit_watt_hours:g} Wh are spent; Ultra Efficiency until midnight",
    "budget_overruled": "today's {limit_watt_hours:g} Wh are spent; the mode chosen since then counts until midnight",
    "budget_spent": "today's {limit_watt_hours:g} Wh are spent",
    "budget_refuses": "today's {limit_watt_hours:g} Wh are spent; best-effort requests are refused until midnight",
}
"""Why a mode is in force."""

HEALTH: Mapping[str, str] = {
    "shares_nothing": "{backend_id} is not shared with other machines",
    "shares_on_mains": "{backend_id} is shared on mains power only, and the machine runs on battery",
    "shares_awake": "{backend_id} sleeps, and other machines may not wake it",
    "not_checked_yet": "not checked yet",
    "disabled_in_configuration": "disabled in the configuration",
    "switched_off": "switched off by hand",
    "backend_removed": "removed from the configuration; its requests under way go on",
    "backend_down": "{detail}",
    "check_failed": "its health check failed by a fault of the proxy: {detail}",
    "no_answer": "no answer within {timeout_seconds:g} s",
    "gpu_memory_lost": (
        "the engine fell back to the CPU: since the machine woke up, {gpu_percent:.0f} % of {model} lies in the GPU's "
        "memory instead of {before_gpu_percent:.0f} %; restart it"
    ),
    "gpu_speed_lost": (
        "the engine probably fell back to the CPU: since the machine woke up, {model} writes {tokens_per_second:.3g} "
        "tokens/s instead of {before_tokens_per_second:.3g}; restart it"
    ),
    "failing": "{reason}[; tried again in {left_seconds:.0f} s]",
}
"""Why a backend does not serve, or worse than it should."""

FAULTS: Mapping[str, str] = {
    "fails_refused": "it refuses connections[, {failures} times in a row]",
    "fails_reset": "it broke off its answers[, {failures} times in a row]",
    "fails_process_ended": "its process for {model:quoted} ended in the middle of answers",
    "fails_stalled": "it was silent for too long[, {failures} times in a row]",
    "fails_server_error": (
        "it answered with an error[ of status {status}][ for {model:quoted}][, {failures} times in a row]"
    ),
    "fails_out_of_memory": "it has too little memory[ for {model:quoted}]",
    "fails_device_lost": "its engine lost the device; restart the engine",
    "fails_busy": "it is busy",
    "rate_limit_reached": "it has had as many requests in this minute as its requests_per_minute allows",
    "rate_limited": "it asked to be left alone, since its rate is limited",
    "fails_key_rejected": "its key is rejected; check its api_key_env or api_key_file",
    "fails_no_credit": "its account has no credit",
    "fails_model_gone": "it says that it has no {model:quoted}",
    "fails_not_loaded": "it did not load {model:quoted}",
    "lacks_context": "the context of {model:quoted} there is too small for about {prompt_tokens} tokens",
    "lacks_tools": "{model:quoted} there calls no tools",
    "lacks_vision": "{model:quoted} there sees no images",
    "lacks_feature": "it does not support what is asked",
    "lacks_operation": "{model:quoted} there has no {operation}",
}
"""What requests found wrong with a backend, or missing there."""

REJECTIONS: Mapping[str, str] = {
    "not_of_frontend": (
        "{backend_id} is not of the front end {frontend}, which uses backends[ labelled {labels}][: {backends}]"
    ),
    "model_not_of_frontend": "the front end {frontend} does not serve {model:quoted}, only {supported}",
    "not_the_target": "{backend_id} is not the target; the request names {target:quoted}",
    "down": "{backend_id} is down[: {reason}]",
    "disabled": "{backend_id} is disabled[: {reason}]",
    "health_unknown": "{backend_id} is not known to be up[: {reason}]",
    "image_urls_refused": "{backend_id} may not be asked to fetch images by their https addresses",
    "already_tried": "{backend_id} had this request before",
    "set_aside": "{backend_id} is left alone[ for {left_seconds:.0f} s]: {reason}",
    "being_tried": "{backend_id} failed of late, and another request tries it now",
    "cannot_resume": "{backend_id} cannot go on exactly from the answer that its client has begun to read",
    "model_not_held": "{backend_id} does not hold [{model:quoted}][{is_any:?}any model]",
    "model_excluded": "{backend_id} is configured not to serve {model:quoted}[, only {supported}]",
    "model_too_large": (
        "{model:quoted} has {size_gb:.4g} GB; {backend_id} is configured for at most {limit_gb:.4g} GB"
    ),
    "never_fits": (
        "{model:quoted} needs {needed_gb:.3g} GB of {memory} on {backend_id}, and engines may have {limit_gb:.3g} GB"
    ),
    "no_vision": "{model:quoted} on {backend_id} cannot see images",
    "operation_unsupported": "{model:quoted} on {backend_id} does not support {operation}",
    "mode_power": f"{_POWER}, and {{mode_label}} allows at most {{limit_watts:g}} W",
    "mode_concurrency": "{in_flight} requests are under way, and {mode_label} allows at most {limit}",
    "mode_wait": (
        "{backend_id} is busy for about {wait_seconds:figure} s[ after {waited_seconds:figure} s of waiting],"
        " and {mode_label} waits at most {limit_seconds:g} s"
    ),
    "mode_temperature": f"{_HEAT}, and {{mode_label}} allows at most {{limit_celsius:g}} °C",
    "mode_fan": (
        "the fan of {backend_id} runs at {fan_percent:g} %, and {mode_label} allows at most {limit_percent:g} %"
    ),
    "critical_heat": f"{_HEAT}, which is critical from {{limit_celsius:g}} °C on",
    "throttling": "{backend_id} is throttled: {detail}",
    "game": "{backend_id} is reserved for a running game (GameMode)",
    "hint_power": f"{_POWER}, and the request allows at most {{limit_watts:g}} W",
    "hint_latency": f"{_LATENCY}{_QUEUED}, and the request allows at most {{limit_ms:g}} ms",
    "deadline": f"{_LATENCY}, and the request's deadline is in {{limit_ms:.0f}} ms",
    "deadline_of_end": (
        "{backend_id} would end its answer after about {time_ms:.0f} ms,"
        " and the request's deadline is in {limit_ms:.0f} ms"
    ),
}
"""Why a backend cannot serve a request, or only where no other can."""

LIMITS: Mapping[str, str] = {
    "outside_mode": "not in this mode: {limits}",
    "limit_power": "{power_watts:g} W > {limit_watts:g} W",
    "limit_temperature": "{temperature_celsius:g} °C > {limit_celsius:g} °C",
    "limit_fan": "fan at {fan_percent:g} % > {limit_percent:g} %",
    "limit_throttling": "throttled: {detail}",
    "limit_game": "reserved for a running game",
    "limit_critical_heat": "{temperature_celsius:g} °C is critical",
}
"""Why a backend serves only where no other can, in few words."""

DECISIONS: Mapping[str, str] = {
    "cheapest": (
        f"{{mode_label}}: {{backend_id}} {_COST}; next is {{next_backend_id}} with {{next_energy_joules:figure}} J"
        " and {next_time_seconds:figure} s"
    ),
    "trial": (
        f"{{mode_label}}: {{backend_id}} {_COST}, as a trial: too few answers have shown what it needs; without it"
        " {next_backend_id} with {next_energy_joules:figure} J and {next_time_seconds:figure} s"
    ),
    "only_candidate": f"{{mode_label}}: {{backend_id}} {_COST}; nothing else {_CAN}",
    "only_within_mode": _ONLY,
    "only_in_time": f"{_ONLY}, or would end in time",
    "none_within_mode": f"{{mode_label}}: {{backend_id}} {_COST}; nothing within the mode {_CAN}",
    "none_in_time": f"{{mode_label}}: {{backend_id}} {_COST}; nothing within the mode would end in time",
    "queue_too_long": (
        f"{{mode_label}}: {{backend_id}} {_COST}; {{next_backend_id}} is busy for about"
        " {next_queue_wait_seconds:figure} s[ after {waited_seconds:figure} s of waiting],"
        " longer than {mode_label} waits"
    ),
    "target_named": f"the request names {{backend_id}}, which {_COST}",
    "round_robin": f"round-robin of the front end {{frontend}} chose {{backend_id}}, which {_COST}",
    "random_choice": f"the front end {{frontend}} chose {{backend_id}} at random, which {_COST}",
    "least_busy": f"the front end {{frontend}} chose {{backend_id}} as the least busy, which {_COST}",
    "sticky": f"the front end {{frontend}} keeps requests with this {{header}} on {{backend_id}}, which {_COST}",
    "although": "{reason}, although {rejections}",
    "lifted": "{reason}; the request asks for more than the mode allows: {rejections}",
    "tried_again": "{reason}; tried again because {backend_id} failed[: {cause}]",
    "resumed": "{reason}; it goes on in the middle of an answer because {backend_id} failed[: {cause}]",
    "slept": "{reason}; it goes on after the machine's sleep",
    "deferred": "{reason}; {cause}",
    "devices_unused": "{reason}; no backend is known to run on {devices}, so what they do does not count",
    "defer_waits": "first it waits for the charger, for {limit_seconds:.0f} s at most",
    "defer_charger_came": "it waited {waited_seconds:.0f} s for the charger",
    "defer_over": "it waited {waited_seconds:.0f} s for the charger, which did not come",
    "defer_on_charger": "it did not wait, since the machine is on its charger",
    "defer_no_battery": "it did not wait, since the machine runs on no battery",
    "defer_unknown": "it did not wait, since nothing tells whether the machine runs on its battery: {reason}",
    "stayed": "{reason}; it was to move elsewhere in the middle of an answer, where nothing could take it",
    "moved": "{reason}; it moved here from {backend_id} in the middle of an answer[: {cause}]",
    "move_saves": "the rest of the answer needs {saved_joules:figure} J less there, moving included",
    "no_backend": "no backend is configured, and none was found yet",
    "unknown_target": "no backend is called {target:quoted}",
    "model_held_nowhere": "no backend holds {model:quoted}",
    "all_refused": "{rejections}[; and {more} more][; {advice}]",
    "unloaded": (
        "unloading {model:quoted}[: {backends} let go of it][; {kept} kept it: its engine unloads nothing, or failed]"
    ),
    "not_in_memory": "unloading {model:quoted}: no backend has it in memory",
    "cached": (
        "the same request was answered {age_seconds:figure} s ago by {backend_id}, and its answer was kept"
        "[: {energy_joules:figure} J saved][; {backend_id} is down{is_down:?}]"
    ),
    "refused_before_routing": "it was refused before it was routed",
}
"""Why a request went where it went, or nowhere."""

READINGS: Mapping[str, str] = {
    "no_sensor": "no sensor yet",
    "sensors_off": "the sensors are switched off by sensors.enabled in the configuration",
    "file_unreadable": "{file} {detail}",
    "file_forbidden": "{file} may not be read by this user",
    "file_root_only": "{file} is for root alone; an administrator may allow it: chmod o+r {file}",
    "file_empty": "{file} was empty",
    "file_not_a_number": "{file} says {detail:quoted}, which is not a number",
    "call_failed": "{source}: {detail}",
    "driver_too_old": "the driver is too old for {source}",
    "driver_silent": "{driver} reports nothing of it",
    "nvml_not_started": "NVML does not start: {detail}",
    "package_not_installed": "the Python package {package} is not installed",
    "device_silent": "the device does not answer",
    "nothing_found": "there is no {detail} in {folder}",
    "no_fan": "it has no fan of its own",
    "throttling_unreadable": "{driver} reports throttling only in a binary table that differs by model",
    "not_asked_for": "not said in this question",
    "sensor_stale": "stale for {age_seconds:.0f} s",
    "sensor_broke_off": "{sensor} broke off",
    "bus_unavailable": "{detail}",
    "service_not_installed": "{service} is not installed[; install the package {package}]",
    "service_not_running": "{service} is not running[; start it: systemctl start {unit}]",
    "service_left": "{service} has left the bus[; start it: systemctl start {unit}]",
    "service_not_asked": "{service} was not asked yet",
    "service_failed": "{service} does not answer: {detail}",
    "not_reported": "{source} does not report {detail}",
    "no_battery": "this machine has no battery",
    "not_discharging": "the battery is not discharging",
    "quiet_hours_off": "quiet hours are switched off",
    "asleep": "asleep",
    "power_state_odd": "not asked: the kernel calls its power state {detail:quoted}",
    "left_alone": "idle: left alone so that it can sleep",
    "perhaps_idle": "whether it works is not known, no request does on it: left alone so it can sleep",
    "readings_needed": "needs {count} readings of it",
    "no_time_passed": "no time has passed",
    "counter_reset": "the counter was set back",
    "counter_too_old": "not read for {age_seconds:.0f} s",
    "fan_maximum_unknown": "{sensor} reports {fan_rpm:,.0f} rpm, but not the fan's maximum",
    "implausible": "{source} reports {detail}",
    "out_of_range": "reported as {value:g} {unit}, outside {least:g} to {most:g} {unit}",
    "jumped": "reported as {value:g} {unit} after {before:g} {unit}, not confirmed yet",
    "fan_never_turned": "reported as 0 rpm since the start, with its device at {temperature_celsius:g} °C",
    "beyond_power_limit": "reported as {power_watts:g} W, far beyond the device's limit of {limit_watts:g} W",
    "no_driver": "no driver is bound to the device",
    "no_thermometer": "its device does not report its temperature",
    "sleep_unknown": "the device does not say whether it sleeps",
    "no_device_reports": "no device reports {detail}",
    "never_read": "nothing was read of it yet",
    "device_not_sensed": "no sensor reports the device at {pci_address}, so its heat and sleep are not counted",
    "class_not_sensed": "no sensor reports a device of class {hardware}, so its heat and sleep are not counted",
    "class_ambiguous": (
        "there are {count} devices of class {hardware} and pci_address names none, so heat and sleep are not counted"
    ),
    "no_device": "no sensor reports its device",
    "not_local": "it does not run on this machine",
    "not_learned": "no request has shown it yet",
    "not_configured": "it is not configured",
    "power_guessed": "it is not configured; about {power_watts:g} W, guessed",
    "not_configured_or_learned": "it is not configured, and no request has shown it yet",
    "not_measured": "no sensor has shown for long enough what its device draws while it alone works there",
    "no_limit": "there is no limit",
    "no_fan_limit": "the mode {mode} does not limit the fan",
    "no_request_yet": "no request has ended yet",
    "daemon_stopped": "the daemon does not run",
    "history_failed": "the history cannot be kept: {detail}",
    "history_off": "history.enabled is false in the configuration",
    "history_set_aside": "the history of before was set aside as {name}: {detail}; a new one is begun",
    "budget_since_start": "counted since the daemon started: {reason}",
    "base_not_seen": "no sensor has shown yet what {device} draws while nothing runs there",
    "loaded_unknown": "its engine does not say which models are in memory",
    "no_models": "it holds no models, as far as is known",
}
"""Why a value is not known."""

_GROUPS = (MODES, HEALTH, ENGINES, FAULTS, REJECTIONS, LIMITS, DECISIONS, NOTES, PULLS, READINGS, FEATURES)
SENTENCES: Mapping[str, str] = {code: sentence for group in _GROUPS for code, sentence in group.items()}
