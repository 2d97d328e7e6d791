"""Counts finished requests; the values of each label are bounded."""

from ollama_proxyd.core.attempts import AttemptEnded
from ollama_proxyd.core.policy.decision import Decision
from ollama_proxyd.edges.http_api.tallies import Spread, Tally, amount
from ollama_proxyd.services.circuits import BreakerOpened
from ollama_proxyd.services.ledger import Outcome

PREFIX = "ollama_proxy"
MOST_MODELS = 100
"""Of all backends together; models come and go, and further ones are counted together."""
MOST_PROGRAMS = 50
OTHER = "other"
TOGETHER = f'; models beyond the first {MOST_MODELS} of all backends are counted as "{OTHER}"'
NOBODY = "none"

_BACKEND = "backend_id"
_BY_MODEL = (_BACKEND, "model")
_DURATION_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600)
_WAIT_S = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600)
_TTFT_MS = (1, 5, 10, 25, 50, 100, 200, 350, 500, 800, 1200, 2500, 5000, 10_000, 30_000)
_TOKENS_PER_S = (1, 2, 5, 10, 15, 20, 30, 50, 75, 100, 150, 250, 500, 1000)
_BETWEEN_MS = (1, 2, 5, 10, 15, 20, 30, 50, 75, 100, 150, 250, 500, 1000)


class _Models(dict[tuple[str, str], tuple[str, str]]):
    """The labels of each model of a backend; those beyond the first share one."""

    def __missing__(self, labels: tuple[str, str]) -> tuple[str, str]:
        if len(self) >= MOST_MODELS:
            return labels[0], OTHER
        self[labels] = labels
        return labels


class Counters:
    """The metrics that grow with each request."""

    def __init__(self) -> None:
        self.tallies: list[Tally] = []
        self.spreads: list[Spread] = []
        counter, histogram = self._tally, self._spread
        self._requests = counter("requests", "Requests by how they ended", *_BY_MODEL, "status")
        self._decisions = counter("routing_decisions", "Where requests were sent and why", _BACKEND, "reason", "mode")
        self._duration = histogram(
            "request_duration_seconds", "From arrival to the end of the answer", _DURATION_S, *_BY_MODEL
        )
        self._queue_wait = histogram("queue_wait_seconds", "How long requests waited for a backend", _WAIT_S)
        self._ttft = histogram(
            "time_to_first_token_ms", "From arrival to the first piece of a stream", _TTFT_MS, *_BY_MODEL
        )
        self._speed = histogram("tokens_per_second", "Tokens per second after the first", _TOKENS_PER_S, *_BY_MODEL)
        self._between = histogram(
            "inter_token_latency_ms", "Mean time between tokens of an answer", _BETWEEN_MS, *_BY_MODEL
        )
        self._prompt_tokens = counter("prompt_tokens", "Prompt tokens that backends reported", *_BY_MODEL)
        self._tokens = counter("tokens_generated", "Tokens that backends generated", *_BY_MODEL)
        self._money = counter("money_spent", "Estimated price of answers, by configured prices", _BACKEND, "currency")
        self._joules_of_models = counter("model_energy_joules", "Energy of answers", *_BY_MODEL, "source")
        self._error_of_models = counter("model_energy_error_joules", "How far that may be wrong", *_BY_MODEL, "source")
        of_programs = f'Energy of answers; programs beyond the first {MOST_PROGRAMS} are counted as "{OTHER}"'
        self._joules_of_programs = counter("program_energy_joules", of_programs, "program", "source")
        error = "How far that may be wrong"
        self._error_of_programs = counter("program_energy_error_joules", error, "program", "source")
        self._programs: set[str] = set()
        self._skipped = counter("frames_skipped", "Frames of answers that could not be read", _BACKEND)
        self._retries = counter("retries", "Failed attempts that were followed by another", _BACKEND)
        self._resumed = counter("answers_resumed", "Begun answers that another backend went on with", "reason")
        self._broken = counter("answers_broken_off", "Begun answers that broke and could not go on", "reason")
        self._bodies = counter("bodies_refused", "Bodies of requests that were not taken", "reason")
        self._opened = counter("backend_breaker_opens", "How often a breaker opened", _BACKEND, "fault")
        self._models = _Models()

    def count_refused_body(self, why: str) -> None:
        """Count the body of a request that was not taken."""
        self._bodies.sums[(why,)] += 1

    def count(self, outcome: Outcome) -> None:
        """Count one finished request, once."""
        backend_id = outcome.backend_id or NOBODY
        labels = (backend_id, NOBODY) if outcome.model is None else self._models[backend_id, outcome.model]
        self._requests.sums[*labels, _status(outcome)] += 1
        if outcome.decision is not None:
            mode = outcome.decision.effective_mode._value_
            self._decisions.sums[backend_id, _why(outcome, outcome.decision), mode] += 1
        for failed in outcome.retried:
            self._retries.sums[(failed,)] += 1
        for cause in outcome.resumed:
            self._resumed.sums[(cause,)] += 1
        if outcome.obstacle is not None:
            self._broken.sums[(outcome.obstacle.value,)] += 1
        if outcome.backend_id is not None:
            self._queue_wait.note((), outcome.queue_wait_s)
            self._duration.note(labels, outcome.total_s)
            if outcome.ttft_s is not None:
                self._ttft.note(labels, outcome.ttft_s * 1000)

    def count_attempt(self, ended: AttemptEnded) -> None:
        """Count what one attempt brought, and what is to pay for it."""
        if ended.spent:
            self._money.sums[ended.backend_id, ended.currency] += amount(ended.spent)
        if ended.skipped_frames:
            self._skipped.sums[(ended.backend_id,)] += ended.skipped_frames
        labels = self._models[ended.backend_id, ended.model]
        tokens = amount(ended.usage.completion_tokens)
        self._prompt_tokens.sums[labels] += amount(ended.usage.prompt_tokens)
        self._tokens.sums[labels] += tokens
        if tokens > 1 and (writing_s := ended.writing_s) and ended.succeeded:
            self._speed.note(labels, (tokens - 1) / writing_s)
            self._between.note(labels, writing_s * 1000 / (tokens - 1))

    def count_energy(self, ended: AttemptEnded) -> None:
        """Count what one attempt cost, once that is known."""
        energy, name = ended.energy, ended.program.name or NOBODY
        if len(self._programs) < MOST_PROGRAMS:
            self._programs.add(name)
        joules, source = amount(energy.total_j), energy.source._value_
        error_j = amount(joules * energy.error_share)
        model = *self._models[ended.backend_id, ended.model], source
        program = name if name in self._programs else OTHER, source
        self._joules_of_models.sums[model] += joules
        self._error_of_models.sums[model] += error_j
        self._joules_of_programs.sums[program] += joules
        self._error_of_programs.sums[program] += error_j

    def count_opened(self, opened: BreakerOpened) -> None:
        """Count a breaker that opened."""
        self._opened.sums[opened.backend_id, opened.fault.value] += 1

    def _tally(self, name: str, what: str, *labels: str) -> Tally:
        self.tallies.append(Tally(name, _said(what, labels), *labels))
        return self.tallies[-1]

    def _spread(self, name: str, what: str, bounds: tuple[float, ...], *labels: str) -> Spread:
        self.spreads.append(Spread(name, _said(what, labels), bounds, *labels))
        return self.spreads[-1]


def _said(what: str, labels: tuple[str, ...]) -> str:
    """What a metric is, and where it names models that it does not name them all."""
    return what + TOGETHER if "model" in labels else what


def _status(outcome: Outcome) -> str:
    if outcome.cancelled:
        return "cancelled"
    return "ok" if outcome.error is None else outcome.error.value


def _why(outcome: Outcome, decision: Decision) -> str:
    if not decision.ranked:
        return "refused" if outcome.error else "cached" if outcome.is_cached else "unloaded"
    return "conceded" if decision.conceded else decision.why_first
