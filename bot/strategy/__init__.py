"""Strategies: pure functions from a view of the world to a proposal or a skip, by name."""

from collections.abc import Callable, Mapping

from bot.config.schema import StrategySettings
from bot.ports import Strategy
from bot.strategy.mirror import Mirror

#: What `strategy.name` may say, and what is built for it.
STRATEGIES: Mapping[str, Callable[[StrategySettings], Strategy]] = {"mirror": Mirror}


def build(settings: StrategySettings) -> Strategy:
    """Return the strategy that the settings name."""
    return STRATEGIES[settings.name](settings)
