"""What a person sees when the daemon has started."""

from ollama_proxyd import __version__
from ollama_proxyd.config.settings import Auth
from ollama_proxyd.core.fleet import BackendView, Hardware, Health
from ollama_proxyd.services.bundle import Services

SHOWN_MODELS = 4


def banner(url: str, source: str, services: Services, auth: Auth) -> str:
    """Where it listens, what it found, and what to try."""
    views = services.fleet.views.value
    setting = services.governor.setting.value
    lines = [f"ollama-proxyd {__version__} listens on {url}", f"mode: {setting.chosen.value} ({setting.reason})", ""]
    if views:
        width = max(len(view.spec.id) for view in views)
        lines += [f"backends ({source}):", *(f"  {view.spec.id:<{width}}  {_state(view)}" for view in views)]
    else:
        lines += [
            "no backend was found: start Ollama or llama-server and it will be noticed, name one in the",
            "configuration, or use --demo to see everything work with simulated devices",
        ]
    return "\n".join([*lines, "", "try:", *_examples(url, views, _with_token(auth)), ""])


def _state(view: BackendView) -> str:
    if view.health is not Health.UP:
        return f"{view.health.value}: {view.health_reason}"
    names = [model.name for model in view.models]
    more = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
    return f"{_hardware(view)}  {', '.join(names[:SHOWN_MODELS]) or 'no models'}{more}"


def _hardware(view: BackendView) -> str:
    unknown = view.spec.hardware is Hardware.UNKNOWN
    return f"{view.spec.name}, hardware unknown until configured" if unknown else f"{view.spec.hardware.value:<6}"


def _with_token(auth: Auth) -> str:
    """The option of curl that presents the token, from where it stands."""
    if auth.token_env is not None:
        return f' -H "Authorization: Bearer ${auth.token_env}"'
    return f' -H "Authorization: Bearer $(cat {auth.token_file})"' if auth.token_file is not None else ""


def _examples(url: str, views: tuple[BackendView, ...], token: str) -> list[str]:
    model = next((model.name for view in views if view.health is Health.UP for model in view.models), "MODEL")
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"Hello"}}]}}'
    return [
        f"  curl -i {url}/v1/chat/completions{token} -H 'Content-Type: application/json' -d '{body}'",
        f'  curl {url}/efficiency{token} -d \'{{"mode":"Performance"}}\'',
    ]
