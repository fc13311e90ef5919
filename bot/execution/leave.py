"""DECIDE what is no entry: a leader's decrease, his purchase of the other side, an operator's wish.

It takes ledger rows alone: no market, no book, nobody's answer. What it decides stands until it
is reached; `drive` carries it out.
"""

from dataclasses import dataclass
from enum import Enum, auto

from bot import failpoints
from bot.config.schema import Settings
from bot.execution import fills
from bot.ledger import control, covers, intents, leaders, orders, positions, signals
from bot.ledger.db import Tx
from bot.model.amounts import CENT
from bot.model.decision import Numbers, Skip, SkipReason
from bot.model.intent import (
    DUST_SHARES,
    Cover,
    Intent,
    IntentKind,
    IntentState,
    Portfolio,
    exit_target,
    leader_of,
)
from bot.model.market import Side, TokenId
from bot.model.signal import REVERTED, Signal, SignalKind, Wish
from bot.model.units import MICRO, average_price

#: After an operator's `close` nothing is bought again for this long.
CLOSED_S = 1800


class Done(Enum):
    """An operator's wish that no intent stands for: it is done."""

    DONE = auto()


Decided = Skip | Intent | Done


@dataclass(frozen=True, slots=True)
class Leaver:
    """Decides exits. `boot_id` is the life that decides."""

    settings: Settings
    boot_id: int

    def decide(
        self, tx: Tx, signal_id: str, *, bid: int | None = None, now_us: int
    ) -> Decided | None:
        """Store the decision of a signal that asks for an exit, and return it.

        `bid` is what was last bid for its token: the floor of an exit whose leader tells no price
        counts from it. Without one the first fresh bid will do.

        None: it is decided already, or it asks for no exit: it is an entry's. Raises
        InvariantBroken if another executor has been started on this ledger.
        """
        control.fence(tx, self.boot_id)
        signal = signals.undecided(tx, signal_id)
        if signal is None:
            return None
        if signal.kind is SignalKind.OPERATOR:
            return self._obey(tx, signal, bid, now_us)
        token: TokenId | None = signal.token
        if signal.kind is SignalKind.INCREASE:
            # Buying the other side reduces his net exposure: an exit, and never an entry.
            token = positions.other_token(tx, signal)
            if token is None:
                return None
        assert token is not None
        if signal.kind is SignalKind.DECREASE:
            # Purchases that nobody could decide yet: he has begun to leave before we could follow.
            for entry in signals.overtaken(tx, signal):
                self._record(tx, entry, Skip(SkipReason.LEADER_LEFT, {}), now_us)
                passed_over(tx, entry, self.settings, now_us=now_us)
        found = self._follow(tx, signal, token, bid, now_us)
        if (other := positions.other_token(tx, signal)) is not None and other != token:
            # He sold of the other side: what he holds of ours, net of it, is more.
            raise_exit(tx, signal, self.settings, other, now_us=now_us)
            cover_anew(tx, signal, other, now_us=now_us)
        failpoints.reach("leave.written")
        return found

    def _follow(
        self, tx: Tx, signal: Signal, token: TokenId, bid: int | None, now_us: int
    ) -> Decided:
        portfolio, standing = signal.portfolio, intents.open_on(tx, signal.portfolio, token)
        held = positions.shares_of(tx, portfolio, token)
        coming = intents.coming(tx, portfolio, token)
        numbers: dict[str, int | str | None]
        exposure = leaders.exposure(tx, signal.wallet, signal.condition, token)
        kept = None if standing else self._kept(tx, signal, token, exposure, now_us)
        if kept is not None:
            numbers = {"held": held, "leader_holds": exposure}
            return self._record(tx, signal, Skip(kept, numbers), now_us)
        cover = covers.get(tx, portfolio, token)
        if signal.kind is SignalKind.CORRECTION and (cover is None or cover.leader <= 0):
            # What was booked before he was read again is a part of what he turns out to hold.
            cover_anew(tx, signal, token, now_us=now_us)
            cover = covers.get(tx, portfolio, token)
        numbers = {
            "held": held,
            "leader_sold": signal.shares,
            "leader_holds": exposure,
            "cover_shares": cover.shares if cover else 0,
            "cover_leader": cover.leader if cover else 0,
        }
        if held + coming < CENT and standing is None:
            return self._record(tx, signal, Skip(SkipReason.NOT_HELD, numbers), now_us)
        peak = leaders.holding(tx, signal.wallet, token).peak
        target = exit_target(cover, exposure, peak, self._gone_below(signal.wallet))
        numbers["exit_target"] = target
        leaving = standing is not None and standing.kind is IntentKind.EXIT
        if not leaving and held + coming - target < CENT:
            if signal.kind is SignalKind.CORRECTION:
                # He has more than we believed when we sold: an upward correction never buys.
                cover_anew(tx, signal, token, now_us=now_us)
            return self._record(tx, signal, Skip(SkipReason.TOO_SMALL, numbers), now_us)
        target, price = _terms(tx, signal, token, standing if leaving else None, target)
        price = bid if price is None else price
        intent = self._exit_at(tx, signal, token, standing, (target, price), now_us)
        return self._record(tx, signal, intent, now_us, numbers)

    def _kept(
        self, tx: Tx, signal: Signal, token: TokenId, exposure: int, now_us: int
    ) -> SkipReason | None:
        """Return why a position is kept as it is, or None: his trade did not happen and ours stays,
        or it follows nobody since.
        """
        portfolio = signal.portfolio
        settings = self.settings.strategy_for(signal.wallet)
        before = covers.get(tx, portfolio, token)
        fell = before is not None and exposure < before.leader
        if signal.note == REVERTED and fell and settings.on_revert == "keep":
            ours = max(positions.shares_of(tx, portfolio, token), 0)
            if exposure >= DUST_SHARES:
                # He still holds some: all of ours follows that from now on.
                covers.store(tx, portfolio, token, Cover(ours, exposure), now_us=now_us)
                return SkipReason.REVERTED
            covers.store(tx, portfolio, token, Cover(ours, 0), now_us=now_us)
            positions.mark_orphan(tx, portfolio, token, orphan=True)
        return SkipReason.ORPHAN if positions.is_orphan(tx, portfolio, token) else None

    def _gone_below(self, wallet: str) -> int:
        return self.settings.strategy_for(wallet).full_exit_below_ratio

    def _exit_at(
        self,
        tx: Tx,
        signal: Signal,
        token: TokenId,
        standing: Intent | None,
        terms: tuple[int, int | None],
        now_us: int,
    ) -> Intent:
        """Open an exit to (target, price), or change the one that stands; an entry is withdrawn."""
        target, price = terms
        if standing is not None and standing.kind is IntentKind.EXIT:
            intents.change(tx, standing, target=target, price=price, now_us=now_us)
            return standing
        if standing is not None:
            # Its order in flight still counts: the exit is driven when that has ended.
            intents.finish(tx, standing, IntentState.WITHDRAWN, now_us=now_us, why="leader_left")
        return intents.add(
            tx,
            IntentKind.EXIT,
            signal.portfolio,
            signal.condition,
            token,
            target=target,
            price=price,
            signal_id=signal.id,
            now_us=now_us,
        )

    def _obey(self, tx: Tx, signal: Signal, bid: int | None, now_us: int) -> Decided:
        portfolio, token = signal.portfolio, signal.token
        if signal.note.startswith(Wish.ASSIGN):
            owner = Portfolio(signal.note.removeprefix(f"{Wish.ASSIGN} "))
            fills.assign(tx, signal.condition, token, owner, now_us=now_us)
            return self._record(tx, signal, Done.DONE, now_us, {"owner": owner})
        if signal.note.startswith(Wish.CANCEL):
            return self._cancel(tx, signal, now_us)
        standing = intents.open_on(tx, portfolio, token)
        held = positions.shares_of(tx, portfolio, token)
        coming = intents.coming(tx, portfolio, token)
        numbers: Numbers = {"held": held, "exit_target": 0}
        # Whether or not anything is held yet: what is on its way in must not come after this.
        until = now_us + CLOSED_S * MICRO
        reason = "closed by the operator; entries wait for half an hour"
        control.lock(tx, control.position(portfolio, token), reason, until_us=until)
        if held + coming < CENT:
            return self._record(tx, signal, Skip(SkipReason.NOT_HELD, numbers), now_us)
        price = standing.price if standing and standing.kind is IntentKind.EXIT else None
        price = bid if price is None else price
        price = 0 if signal.note == Wish.CLOSE_AT_ANY_PRICE else price
        intent = self._exit_at(tx, signal, token, standing, (0, price), now_us)
        intents.take_over(tx, intent, signal.id)
        return self._record(tx, signal, intent, now_us, numbers)

    def _cancel(self, tx: Tx, signal: Signal, now_us: int) -> Decided:
        """Take one order off its book, and end what it is for: never another intent than its own.

        Where that has ended already, another may stand by now, which nobody asked to end.
        """
        order = orders.order(tx, signal.note.removeprefix(f"{Wish.CANCEL} "))
        if order is None:
            return self._record(tx, signal, Skip(SkipReason.NOT_HELD, {}), now_us)
        orders.ask_cancel(tx, order.id, now_us=now_us)
        intent = intents.get(tx, order.intent_id)
        if intent is None or intent.state is not IntentState.OPEN:
            return self._record(tx, signal, Done.DONE, now_us)
        intents.finish(tx, intent, IntentState.WITHDRAWN, now_us=now_us, why="operator")
        return self._record(tx, signal, intent, now_us)

    def _record(
        self,
        tx: Tx,
        signal: Signal,
        found: Decided,
        now_us: int,
        numbers: Numbers | None = None,
    ) -> Decided:
        orders.decide(
            tx,
            signal,
            reason=found.reason if isinstance(found, Skip) else None,
            numbers=found.numbers if isinstance(found, Skip) else numbers or {},
            intent_id=found.id if isinstance(found, Intent) else None,
            boot_id=self.boot_id,
            now_us=now_us,
        )
        return found


def passed_over(tx: Tx, signal: Signal, settings: Settings, *, now_us: int) -> None:
    """Count an increase that is not followed: his holding is another one, and ours is not.

    The cover is set anew, and an exit that stands gets the target of what he holds now.
    """
    portfolio, token = signal.portfolio, signal.token
    if leader_of(portfolio) is None:
        return
    raise_exit(tx, signal, settings, token, now_us=now_us)
    cover_anew(tx, signal, token, now_us=now_us)


def cover_anew(tx: Tx, signal: Signal, token: TokenId, *, now_us: int) -> None:
    """Set a cover to what we hold, or are about to, and to what the leader holds now.

    While an exit stands, what is still to be sold is no part of that. Its target and his holding
    have the cover's own proportion, so the cover stays as it is; only where it would be owed more
    than we have does it begin anew from what we have.
    """
    portfolio, wallet = signal.portfolio, leader_of(signal.portfolio)
    standing, before = intents.open_on(tx, portfolio, token), covers.get(tx, portfolio, token)
    ours = positions.shares_of(tx, portfolio, token) + intents.coming(tx, portfolio, token)
    if wallet is None or ours < CENT or (standing and standing.kind is IntentKind.ENTRY):
        return
    exposure = leaders.exposure_decided(tx, wallet, signal.condition, token)
    if standing is not None:
        if before is None or before.leader <= 0:
            return
        if before.shares * exposure <= ours * before.leader:
            return
    covers.store(tx, portfolio, token, Cover(ours, exposure), now_us=now_us)


def raise_exit(tx: Tx, signal: Signal, settings: Settings, token: TokenId, *, now_us: int) -> None:
    """Give the standing exit of a token the target of what the leader holds of it now."""
    found = raised(tx, signal, settings, token)
    if found is None:
        return
    standing, target = found
    intents.change(tx, standing, target=target, price=standing.price, now_us=now_us)
    intents.review(tx, signal.portfolio, token, now_us=now_us)


def raised(tx: Tx, signal: Signal, settings: Settings, token: TokenId) -> tuple[Intent, int] | None:
    """Return the exit of a token whose target is higher by now, and what it is; None if none is."""
    portfolio = signal.portfolio
    standing = intents.open_on(tx, portfolio, token)
    if standing is None or standing.kind is not IntentKind.EXIT:
        return None
    if intents.asked_by_operator(tx, standing):
        return None
    exposure = leaders.exposure(tx, signal.wallet, signal.condition, token)
    peak = leaders.holding(tx, signal.wallet, token).peak
    ratio = settings.strategy_for(signal.wallet).full_exit_below_ratio
    target = exit_target(covers.get(tx, portfolio, token), exposure, peak, ratio)
    return (standing, target) if target > standing.target else None


def _terms(
    tx: Tx, signal: Signal, token: TokenId, leaving: Intent | None, target: int
) -> tuple[int, int | None]:
    """Return what an exit leaves us with, and the price at which he has left, if one is known."""
    price = _left_at(signal, token)
    if leaving is not None:
        if intents.asked_by_operator(tx, leaving):
            # What the operator has asked for stands: it only ever falls, and at his price.
            return min(target, leaving.target), leaving.price
        return target, leaving.price if price is None else price
    if price is None and (before := intents.latest_on(tx, signal.portfolio, token)) is not None:
        # Shares that came late follow him at the price at which he had left: never at any price,
        # which was wished for others.
        price = (before.price or None) if before.kind is IntentKind.EXIT else None
    return target, price


def _left_at(signal: Signal, token: TokenId) -> int | None:
    """Return the price at which a leader left `token`, or None if his trade does not tell."""
    if signal.group_shares <= 0:
        return None
    at = average_price(signal.group_usdc, signal.group_shares)
    # He may have left by buying the other side: what he got for ours is the rest of a dollar.
    return at if signal.side is Side.SELL else MICRO - at
