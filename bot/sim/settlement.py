"""What happens to a trade after its match: mined and confirmed, again under another hash, or never.

A way tells how one trade goes, its steps joined by '+': MINED, FAILED, RETRYING (its transaction
failed; another hash is tried), STUCK (it stays MATCHED until it is released). `RETRYING+FAILED` is
tried again and fails; `STUCK+RETRYING` is mined under a new hash once it is released. What does
not end in FAILED is mined in the end.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bot.errors import ConfigError
from bot.sim import logs
from bot.sim.chain import Transaction
from bot.sim.entities import Account, SimTrade

if TYPE_CHECKING:
    from bot.sim.exchange import Exchange

STEPS = ("MINED", "FAILED", "RETRYING", "STUCK")


@dataclass
class Settlement:
    """Trades on their way to the chain."""

    exchange: "Exchange"
    signed: list[str] = field(default_factory=list)  #: ways of the next trades of signed orders
    others: list[str] = field(default_factory=list)  #: and of the next ones among strangers
    stuck: list[SimTrade] = field(default_factory=list)
    _due: list[tuple[int, SimTrade, str]] = field(default_factory=list)

    def will(self, ways: list[str], *, signed: bool) -> None:
        """Decide how the next trades go; raises ConfigError for an unknown step."""
        for way in ways:
            _steps(way)
        (self.signed if signed else self.others).extend(ways)

    def begin(self, trade: SimTrade, shown_us: int) -> None:
        """Hold what a new trade moves and set out for the chain."""
        self._hold(trade, 1)
        if shown_us > self.exchange.now_us:
            self._due.append((shown_us, trade, "SHOWN"))
        self._due.append((shown_us + self.exchange.timing.mined, trade, "MINED"))

    def resume(self, trade: SimTrade) -> None:
        """Let a trade of an earlier simulation go on from where it was.

        What it moves is held already.
        """
        step = {"MATCHED": "MINED", "RETRYING": "MINED", "MINED": "CONFIRMED"}.get(trade.status)
        if step is not None:
            self._due.append((self.exchange.now_us + 1, trade, step))

    def tick(self, *, seals: bool) -> None:
        """Do what is due. Only where a block is about to be sealed (`seals`) is anything mined."""
        now = self.exchange.now_us
        ripe = [d for d in self._due if d[0] <= now and (seals or d[2] != "MINED")]
        self._due = [d for d in self._due if d not in ripe]
        due = sorted(ripe, key=lambda d: d[0])
        for _, trade, status in due:
            self._settle(trade, status)

    def release(self, way: str = "") -> int:
        """Let every stuck trade go on, as told now or as told before; return how many."""
        stuck, self.stuck = self.stuck, []
        for trade in stuck:
            trade.way = _steps(way) if way else trade.way or ["MINED"]
            self._settle(trade, "MINED")
        return len(stuck)

    def undo(self, trade: SimTrade) -> None:
        """Take back a mined trade whose block is out of the chain: it has failed after all."""
        self._due = [d for d in self._due if d[1] is not trade]
        self._transfer(trade, -1)
        trade.status, trade.updated_us = "FAILED", self.exchange.now_us
        self.exchange.tell("trade", trade)

    def heal(self) -> None:
        """Settle as usual from now on; show what is hidden and let go of what is stuck."""
        now = self.exchange.now_us
        self.signed.clear()
        self.others.clear()
        hidden = {trade.id for _, trade, status in self._due if status == "SHOWN"}
        mined_us = now + self.exchange.timing.mined
        for i, (_, trade, status) in enumerate(self._due):
            if trade.id in hidden:
                trade.hidden_until_us = trade.taker.hidden_until_us = now
                self._due[i] = (now if status == "SHOWN" else mined_us, trade, status)
        self.release()

    def on_the_way(self) -> bool:
        """Return whether a trade is about to be mined or to fail by itself."""
        return any(status != "CONFIRMED" for _, _, status in self._due)

    def _settle(self, trade: SimTrade, status: str) -> None:
        if status == "SHOWN":
            self.exchange.show(trade)
            return
        if status == "MINED":
            if trade.status == "MATCHED" and not trade.way:
                trade.way = self._way(trade)
            status = trade.way.pop(0) if trade.way else "MINED"
        if status == "STUCK":
            self.stuck.append(trade)
            return
        self._becomes(trade, status)
        self.exchange.tell("trade", trade)

    def _way(self, trade: SimTrade) -> list[str]:
        if not trade.signed:
            return _steps(self.others.pop(0)) if self.others else []
        timing, draw = self.exchange.timing, self.exchange.rng.random()
        if self.signed:
            return _steps(self.signed.pop(0))
        if draw < timing.failed_share:
            return ["FAILED"]
        return ["RETRYING"] if draw < timing.failed_share + timing.retried_share else []

    def _becomes(self, trade: SimTrade, status: str) -> None:
        now, timing = self.exchange.now_us, self.exchange.timing
        trade.status, trade.updated_us = status, now
        if status in ("RETRYING", "FAILED"):
            self.exchange.chain.include(Transaction(trade.tx, ok=False))
        if status == "RETRYING":
            old, trade.tx = trade.tx, self.exchange.hash()
            self._due.append((now + timing.mined, trade, "MINED"))
            self.exchange.tell("rehashed", (old, trade.tx))
        elif status == "MINED":
            self._hold(trade, -1)
            self._transfer(trade, 1)
            self.exchange.chain.include(logs.trade(trade))
            self._due.append((now + timing.confirmed, trade, "CONFIRMED"))
        elif status == "FAILED":
            self._hold(trade, -1)

    def _hold(self, trade: SimTrade, sign: int) -> None:
        for account, asset, amount in payments(trade):
            account.leaving[asset] = account.leaving.get(asset, 0) + sign * amount

    def _transfer(self, trade: SimTrade, sign: int) -> None:
        move, taker = self.exchange.move, trade.taker
        for account, asset, amount in payments(trade):
            move(account, asset, -sign * amount)
        for piece in trade.pieces:
            maker = piece.order
            if maker.side == "BUY":
                move(maker.account, maker.token, sign * piece.shares)
            else:
                move(maker.account, "", sign * piece.maker_usdc)
        if taker.side == "BUY":
            move(taker.account, taker.token, sign * trade.shares)
        else:
            move(taker.account, "", sign * (trade.usdc - trade.fee))


def payments(trade: SimTrade) -> list[tuple[Account, str, int]]:
    """Return what each party of a trade gives: (account, asset, amount); '' is collateral."""
    taker = trade.taker
    paid = [(taker.account, taker.token, trade.shares)]
    if taker.side == "BUY":
        paid = [(taker.account, "", trade.usdc + trade.fee)]
    for piece in trade.pieces:
        maker = piece.order
        if maker.side == "BUY":
            paid.append((maker.account, "", piece.maker_usdc))
        else:
            paid.append((maker.account, maker.token, piece.shares))
    return paid


def _steps(way: str) -> list[str]:
    steps = way.split("+")
    if not set(steps) <= set(STEPS):
        raise ConfigError(f"way {way[:40]!a}: expected {', '.join(STEPS)}, joined by '+'")
    return steps
