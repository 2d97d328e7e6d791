"""The sentence of each note by its code: what an estimate stands on, and how long models stay in memory."""

from collections.abc import Mapping

_SIZE = "[ for a model of {size_gb:.2g} GB][, whatever the model: {unscaled}]"

NOTES: Mapping[str, str] = {
    "power_from_class": "power {power_watts:g} W is estimated from hardware class {hardware}",
    "ttft_from_class": (
        f"time to the first token {{ttft_seconds:.3g}} s is estimated from hardware class {{hardware}}{_SIZE}"
    ),
    "speed_from_class": (
        f"speed {{tokens_per_second:.3g}} tokens/s is estimated from hardware class {{hardware}}{_SIZE}"
    ),
    "power_of_unknown": "power {power_watts:g} W is estimated as its hardware is unknown",
    "ttft_of_unknown": (
        f"time to the first token {{ttft_seconds:.3g}} s is estimated as its hardware is unknown{_SIZE}"
    ),
    "speed_of_unknown": f"speed {{tokens_per_second:.3g}} tokens/s is estimated as its hardware is unknown{_SIZE}",
    "speed_scaled": (
        "speed {tokens_per_second:.3g} tokens/s is what is configured, scaled to a model of {size_gb:.2g} GB"
    ),
    "size_unknown": "its size is unknown",
    "mixture_of_experts": "only a part of a mixture of experts works for each token",
    "speed_measured": "speed measured in {samples} request[{is_many:?}s]",
    "speed_of_kin": "speed estimated from what {backend_id}, of the same kind, has shown",
    "power_measured": "power measured {power_watts:.3g} W",
    "degraded": "degraded: {reason}",
    "power_of_radio": "power {power_watts:g} W is estimated for this machine's radio, since it runs elsewhere",
    "money_counted": (
        "its tokens cost about {money:figure} {currency}, which counts as {money_joules:figure} J"
        " at {price_per_kwh:g} {currency}/kWh"
    ),
    "beside_others": "beside {count} other[{is_many:?}s] on its chip it takes {times:.3g} times as long",
    "prefix_cached": "its cache is likely to hold the first {tokens:.0f} tokens of the prompt",
    "noise_counted": (
        "{loud_watts:.2g} W of its {power_watts:.2g} W count as noise and heat in the lap"
        "[, since its fan blows at {fan_percent:.0f} %]"
    ),
    "wake_estimated": "time to wake the device {wake_seconds:g} s is estimated",
    "load_estimated": "time to load {load_seconds:.2g} s is estimated for a model of {size_gb:.2g} GB",
    "load_unknown": "it is unknown whether the model is loaded, so loading is not counted",
    "load_measured": "time to load {load_seconds:.2g} s is measured",
    "idle_watts": "{idle_watts:.2g} W of an unused model are [{is_estimated:?}estimated][{is_measured:?}measured]",
    "engine_starts": "its engine is off; starting {unit} takes {start_seconds:.2g} s",
    "unloads_after": "unloads after {keep_seconds:.0f} s without requests: loading again costs {load_joules:figure} J, "
    "keeping [{is_estimated:?}an estimated ][{is_measured:?}as measured ]{idle_watts:.2g} W",
    "kept_by_client": "a client said how long it stays",
    "kept_by_other": "another program loaded it or uses it, so it is left alone",
    "kept_by_engine": "its engine says how long it stays",
    "not_unloaded": "{model} stays in memory although its time is over: {detail}",
    "too_hot_now": "its device is at {temperature_celsius:g} °C, past {limit_celsius:g} °C",
    "too_hot_soon": (
        "its device is at {temperature_celsius:g} °C and reaches {limit_celsius:g} °C in about {left_seconds:.0f} s"
    ),
}
"""What an estimate stands on."""
