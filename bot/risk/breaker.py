"""The breaker: when a day's loss or a row of errors stops entries until the operator resumes."""

from bot.config.schema import RiskSettings


def tripped(loss: int, errors: int, limits: RiskSettings) -> str | None:
    """Return why the breaker stops entries, or None. `loss` is the day's loss, at least 0."""
    if loss >= limits.breaker_loss_usdc:
        return "breaker: daily loss limit reached"
    if errors >= limits.breaker_errors:
        return f"breaker: {errors} consecutive errors"
    return None
