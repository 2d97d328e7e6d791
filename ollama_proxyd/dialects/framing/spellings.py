"""Fields by which engines would take an option from elsewhere than where its API has it."""

from collections.abc import Iterator, Mapping

_MODEL = ("models", "model_id", "lora", "lora_path", "lora_request", "adapter", "adapters")
_TEMPERATURE = (
    *("temp", "temperature_inc", "dynamic_temperature", "dynatemp", "smoothing_factor", "smoothing_curve"),
    *("dynatemp_range", "dynatemp_exponent", "dynatemp_low", "dynatemp_high", "min_temp", "max_temp"),
)
_MAX_TOKENS = (
    *("max_completion_tokens", "max_output_tokens", "max_new_tokens", "max_length", "max_gen_len"),
    *("n_predict", "num_predict", "auto_max_new_tokens"),
)
_SAMPLERS = (
    *("samplers", "sampler_order", "sampler_priority", "sampler_seq", "sampling_seq", "preset"),
    *("mirostat", "mirostat_mode", "adaptive_target", "penalty_alpha"),
    *("do_sample", "use_beam_search", "num_beams"),
    *("logits_processors", "custom_logit_processor", "custom_params", "vllm_xargs"),
)
"""They say which samplers there are, or put others in their place."""
_OPTIONS_IN_IT = ("extra_body", "generation_config", "options", "parameters", "sampling_params")
"""Sections that may hold any option."""

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "model": _MODEL,
    "max_tokens": _MAX_TOKENS,
    "temperature": (*_TEMPERATURE, *_SAMPLERS),
    "top_p": ("nucleus", *_SAMPLERS),
    "top_k": _SAMPLERS,
    "min_p": _SAMPLERS,
    "typical_p": ("typical", *_SAMPLERS),
    "seed": ("random_seed", "sampler_seed"),
    "stop": (
        *("stop_sequence", "stop_sequences", "stop_strings", "stop_regex"),
        *("stopping_strings", "custom_stopping_strings"),
    ),
    "repeat_penalty": ("repetition_penalty", "rep_pen", *_SAMPLERS),
    "repeat_last_n": (
        *("repetition_penalty_range", "repetition_context_size", "rep_pen_range", "penalty_last_n"),
        *_SAMPLERS,
    ),
    "frequency_penalty": _SAMPLERS,
    "presence_penalty": _SAMPLERS,
    "num_keep": ("n_keep",),
    "num_ctx": ("n_ctx", "max_context_length", "truncation_length", "truncate_prompt_tokens"),
    "truncate": ("truncate_prompt_tokens", "truncation"),
    "n": ("n_cmpl", "num_return_sequences"),
    "keep_alive": ("ttl",),
}
"""Of each option: what llama-server, vLLM, SGLang, LMDeploy, TGI, KoboldCpp, LM Studio, mlx_lm, Transformers and
text-generation-webui read for it or instead of it."""


def other_keys(option: str, keys: tuple[str, ...], sections: frozenset[str]) -> Iterator[str]:
    """Where else a body may have an option: beside its own keys, and in sections that its API has not."""
    yield from (name for name in _OPTIONS_IN_IT if name not in sections)
    for section in {key.rpartition(".")[0] for key in keys} | {""}:
        for name in SPELLINGS.get(option, ()):
            key = f"{section}.{name}" if section else name
            if key not in keys:
                yield key
