"""What a strategy is."""

from typing import Protocol

from bot.model import Proposal, Skip, View
from bot.settings import Strategy as StrategySettings


class Strategy(Protocol):
    """Decides what one signal should become. Pure: same view, same answer."""

    def evaluate(self, view: View, settings: StrategySettings) -> Proposal | Skip:
        """Return the order this strategy wants, or why it wants none."""
        ...
