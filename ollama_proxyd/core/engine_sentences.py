"""The sentences of how the engines stand that the proxy runs, and of their models and prompts."""

from collections.abc import Mapping

ENGINES: Mapping[str, str] = {
    "engine_not_loaded": "{model} did not load: {detail}",
    "models_folder_unreadable": "no model in {path} is known, for the folder cannot be read: {detail}",
    "models_elsewhere": "{path} has no model; those of Ollama's system service are in {service}",
    "model_unusable": "{path} is no model that can be used: {detail}",
    "engine_ended": "the process of {model} ended unasked: {detail}",
    "engine_hung": "{model} answered nothing any more, and was ended: {detail}",
    "engine_unreachable": "the process of {model} runs, but not where it listened, and is replaced: {detail}",
    "engine_dead": "{model} says that it never answers again, and its process is replaced: {detail}",
    "prompts_not_saved": "the prompts of {model} were not written to the disk: {detail}",
    "prompts_not_read_back": "the prompts of {model} were not read back from the disk: {detail}",
    "engines_behind_sockets": "engines listen at sockets in {path}, which only this user can enter",
    "engines_at_ports": "engines listen at ports of this machine, each with a key: {detail}",
    "engines_as_units": "engines are transient units of this user's systemd, with its limits and its journal",
    "engines_as_children": "engines are child processes of the daemon: {detail}",
}
