"""What the public feeds tell about wallets: filled orders, and money that moves without one."""

from dataclasses import dataclass
from typing import Any

from bot.sim.entities import MICRO, SimMarket, SimTrade

#: Activity of a market that names no token, side or price.
MARKET_KINDS = ("SPLIT", "MERGE", "REDEEM", "CONVERSION")
#: Cash that comes and goes by itself. The last two are hidden unless they are asked for.
CASH_KINDS = ("YIELD", "REWARD", "MAKER_REBATE", "TAKER_REBATE", "DEPOSIT", "WITHDRAWAL")
HIDDEN_KINDS = ("DEPOSIT", "WITHDRAWAL")


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One filled order as the public feeds show it."""

    tx: str
    wallet: str
    token: str
    side: str
    shares: int
    usdc: int
    price: int
    market: SimMarket
    name: str
    traded_s: int

    kind = "TRADE"

    def group(self) -> tuple[str, str, str, str]:
        """Return (transaction, wallet, token, side)."""
        return self.tx, self.wallet.lower(), self.token, self.side

    def outcome(self) -> tuple[str, int]:
        """Return outcome label and index."""
        index = self.market.tokens.index(self.token)
        return self.market.outcomes[index], index

    def rtds(self) -> dict[str, Any]:
        """Return the payload of an RTDS activity frame."""
        label, index = self.outcome()
        return {
            "proxyWallet": self.wallet, "name": self.name, "pseudonym": "", "side": self.side,
            "size": self.shares / MICRO, "price": self.price / MICRO, "asset": self.token,
            "outcome": label, "outcomeIndex": index, "conditionId": self.market.condition,
            "slug": self.market.slug, "eventSlug": self.market.slug, "title": self.market.title,
            "icon": "", "timestamp": self.traded_s, "transactionHash": self.tx, "bio": "",
            "profileImage": "",
        }  # fmt: skip

    def activity(self) -> dict[str, Any]:
        """Return a row of /v2/activity."""
        label, index = self.outcome()
        return {
            "type": self.kind, "proxy_wallet": self.wallet.lower(),
            "condition_id": self.market.condition, "token_id": self.token, "side": self.side,
            "size": self.shares / MICRO, "usdc_size": self.usdc / MICRO,
            "price": self.price / MICRO, "outcome": label, "outcome_index": index,
            "title": self.market.title, "slug": self.market.slug, "event_slug": self.market.slug,
            "icon": "", "timestamp": self.traded_s, "transaction_hash": self.tx,
            "is_combo": False, **_profile(self.name),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class CashRow:
    """Money or pairs of shares that moved without an order: no token, no side, no price."""

    kind: str
    tx: str
    wallet: str
    usdc: int
    traded_s: int
    name: str = ""
    market: SimMarket | None = None

    def activity(self) -> dict[str, Any]:
        """Return a row of /v2/activity."""
        row: dict[str, Any] = {
            "type": self.kind, "proxy_wallet": self.wallet.lower(), "usdc_size": self.usdc / MICRO,
            "timestamp": self.traded_s, "transaction_hash": self.tx, "is_combo": False,
            **_profile(self.name),
        }  # fmt: skip
        if self.market is not None:
            row |= {
                "condition_id": self.market.condition, "title": self.market.title,
                "slug": self.market.slug, "event_slug": self.market.slug, "icon": "",
                "outcome": "", "outcome_index": 999,
            }  # fmt: skip
        return row


def _profile(name: str) -> dict[str, str]:
    blank = ("pseudonym", "bio", "profile_image", "profile_image_optimized")
    return {"name": name, **dict.fromkeys(blank, "")}


def rows_of(trade: SimTrade, at_s: int) -> list[FeedRow]:
    """Return the public rows of a trade: the taker's first, then one per resting order."""
    taker = trade.taker
    price = trade.usdc * MICRO // trade.shares
    found = [
        FeedRow(
            trade.tx,
            taker.account.wallet,
            taker.token,
            taker.side,
            trade.shares,
            trade.usdc,
            price,
            taker.market,
            taker.account.name,
            at_s,
        )
    ]
    for piece in trade.pieces:
        maker = piece.order
        found.append(
            FeedRow(
                trade.tx,
                maker.account.wallet,
                maker.token,
                maker.side,
                piece.shares,
                piece.maker_usdc,
                maker.price,
                maker.market,
                maker.account.name,
                at_s,
            )
        )
    return found
