"""What a service takes for its tokens, and what money counts for beside joules."""

from typing import Annotated, TypeAlias

from ollama_proxyd.core.options import Like, NotNegative, Option, Positive
from ollama_proxyd.core.values import value

TOKENS_PER_PRICE = 1e6
J_PER_KWH = 3.6e6

Currency: TypeAlias = Annotated[str, Like("^[A-Z]{3}$", "the three letters of a currency, such as EUR")]


@value
class CostSettings:
    """How money is weighed against energy."""

    currency: Annotated[Currency, Option("costs.", "The currency of every price in this file.")] = "USD"
    electricity_per_kwh: Annotated[
        Positive, Option("costs.", "The price of a kilowatt-hour; it makes joules of what a service takes.")
    ] = 0.3


@value
class Tariff:
    """The prices of one backend; None where none is configured, which then counts as nothing."""

    input_price: Annotated[
        NotNegative | None,
        Option("backends[].price_per_million_input_tokens", "The service's price of a million prompt tokens."),
    ] = None
    output_price: Annotated[
        NotNegative | None,
        Option("backends[].price_per_million_output_tokens", "The service's price of a million tokens of answers."),
    ] = None
    costs: CostSettings = CostSettings()

    def spent(self, prompt_tokens: float, output_tokens: float) -> float:
        """What is to pay for so many tokens."""
        sums = prompt_tokens * (self.input_price or 0.0) + output_tokens * (self.output_price or 0.0)
        return sums / TOKENS_PER_PRICE

    @property
    def token_joules(self) -> tuple[float, float]:
        """The electricity that could be had for what a token of the prompt costs, and one of the answer."""
        return self.joules(self.spent(1, 0)), self.joules(self.spent(0, 1))

    def joules(self, money: float) -> float:
        """The electricity that could be had for the money."""
        return money / self.costs.electricity_per_kwh * J_PER_KWH
