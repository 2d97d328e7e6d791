"""The one vocabulary of units: short in code, spelled out in every key that users see."""

_SPELLED = {
    "w": "watts",
    "j": "joules",
    "c": "celsius",
    "s": "seconds",
    "wh": "watt_hours",
    "tps": "tokens_per_second",
    "temp": "temperature",
}


def spelled(name: str) -> str:
    """The key of a field: max_temp_c is max_temperature_celsius."""
    words = "_".join(_SPELLED.get(word, word) for word in name.split("_"))
    return words.replace("_per_seconds", "_per_second")
