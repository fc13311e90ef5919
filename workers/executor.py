"""executor: decide, sign, post and settle. The only process that sees the signing key."""

import asyncio
import fcntl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from bot.config.schema import Settings
from bot.config.secrets import private_key
from bot.errors import ConfigError, Unavailable
from bot.execution.assemble import Execution, assemble
from bot.execution.learned import Learned, informed
from bot.execution.prefetch import Warmer, prefetch
from bot.execution.reconcile import Reconciler
from bot.ledger import account, control, markets
from bot.ledger.db import Tx
from bot.model.market import TokenId
from bot.model.units import MICRO
from bot.polymarket import wallet
from bot.polymarket.books import Books
from bot.polymarket.clob import Clob
from bot.polymarket.signer import OrderSigner
from bot.polymarket.transport import Transport
from bot.polymarket.user_stream import UserStream
from bot.process import harden
from bot.queue import Message, Reconcile, SignalSeen, Warm
from bot.risk.guards import MAX_SKEW_S
from bot.runtime import Boot, now_us, run

logger = structlog.get_logger(__name__)
LOCK_WAIT_S = 30
PREFETCH_S = 60
CLOCK_S = 5
#: Markets whose last known facts a new life starts with.
REMEMBERED = 10_000
RESTRICTION_S, RESTRICTED_S = 600, 60
#: Between two comparisons of ledger and exchange: when they could be made, when something moved,
#: when nobody answered.
RECONCILE_S, BUSY_S, RETRY_S = 900, 60, 5


def make_signer(settings: Settings) -> OrderSigner:
    """Return the signer for the configured wallet; raises ConfigError."""
    account = settings.account
    if account.signature_type == 0 and account.funder is not None:
        raise ConfigError(
            "account.funder: a type 0 wallet holds its own collateral; remove it, or set the type"
        )
    if account.signature_type != 0 and account.funder is None:
        raise ConfigError(f"account.funder: required with signature_type {account.signature_type}")
    signer = OrderSigner(
        private_key(account),
        chain_id=settings.venue.chain_id,
        contracts=settings.venue.exchanges,
        signature_type=account.signature_type,
        funder=account.funder,
    )
    if account.funder is not None and settings.venue.chain_id == wallet.CHAIN_ID:
        wallet.prove(signer.address, account.signature_type, account.funder)
    return signer


@asynccontextmanager
async def only_one(path: Path) -> AsyncIterator[None]:
    """Hold a lock for the life of the process: two executors would both recover."""
    with path.open("a") as file:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{path}: another executor is still alive") from None
                await asyncio.sleep(0.05)
        yield


async def executor(boot: Boot) -> None:
    """Carry signals to a final state. Every line may be the last one; a restart continues here."""
    settings, ledger = boot.settings, boot.ledger
    async with only_one(boot.home.run / "executor.lock"):
        signer = make_signer(settings)
        execution = settings.execution
        transport = Transport(
            settings.venue.clob_url,
            timeout_s=execution.timeout_s,
            requests_per_s=execution.requests_per_s,
        )
        known = informed(transport, ledger, now_us)
        kind, patience = settings.account.signature_type, execution.timeout_s
        clob = Clob(transport, signer, kind, timeout_s=patience, public=known.public)
        try:
            cash = await _login(boot, clob)
            if cash is None:
                return
            await ledger.transact(account.open_account, signer.maker, cash, now_us=now_us())
            clob.public.remember(await ledger.look(markets.all_known, REMEMBERED))
            books = Books(settings.venue.market_ws_url, clob.public, now_us=now_us)
            built = assemble(ledger, clob, books, signer, settings, boot_id=boot.id, now_us=now_us)
            user = UserStream(settings.venue.user_ws_url, clob, built.prover.apply)
            await _work(boot, built, books, clob, user, known.learned)
        finally:
            await transport.close()


async def _login(boot: Boot, clob: Clob) -> int | None:
    """Log in and return our collateral; None if stopped meanwhile.

    An exchange that is away is no reason to die: the restarts would look like a crash loop.
    """
    wait = 1.0
    while not boot.stopping.is_set():
        try:
            await clob.read_clock()
            await clob.login()
            return await clob.collateral()
        except Unavailable as error:
            boot.state, boot.trouble = "waiting", str(error)
            logger.warning("exchange.unavailable", error=str(error), retry_s=wait)
            with suppress(TimeoutError):
                await asyncio.wait_for(boot.stopping.wait(), wait)
            wait = min(wait * 2, 30.0)
    return None


async def _work(
    boot: Boot, execution: Execution, books: Books, clob: Clob, user: UserStream, learned: Learned
) -> None:
    loop, reconciler = execution.loop, execution.reconciler

    boot.progressed = lambda: loop.progress_us
    boot.on_message = _hearing(boot, execution, books)
    boot.detail = lambda: {"books_live": books.connected, "user_live": user.stream.connected}
    async with asyncio.TaskGroup() as group:
        tasks = {
            "books": books.run(),
            "user": user.run(),
            "learned": learned.run(),
            "prefetch": _keep_fresh(boot, books, clob),
            "clock": _mind_clock(boot, clob),
            "restriction": _mind_restriction(boot, clob),
            "reconcile": _watch_differences(reconciler, RETRY_S),
        }
        background = [group.create_task(work, name=name) for name, work in tasks.items()]
        # Before anything new is decided; entries wait until it has been possible once.
        await boot.ledger.transact(
            control.lock, control.UNCOMPARED, "not compared with the exchange"
        )
        await _compare(reconciler, balances=False)
        await boot.ready()
        await loop.run(boot.stopping)
        for task in background:
            task.cancel()


def _hearing(boot: Boot, execution: Execution, books: Books) -> Callable[[Message], Awaitable[str]]:
    warmer = Warmer(books, max_age_us=boot.settings.strategy.book_max_age_s * MICRO)

    async def on_message(message: Message) -> str:
        # The signal's row is committed by its sender: the loop reads it itself.
        if isinstance(message, SignalSeen):
            execution.loop.ring(message.purchase)
        if isinstance(message, Warm):
            warmer.warm(message.condition, TokenId(message.token))
        if isinstance(message, Reconcile):
            return await execution.reconciler.answer(adopt=message.adopt, now_us=now_us())
        return ""

    return on_message


async def _mind_clock(boot: Boot, clob: Clob) -> None:
    """Keep the exchange's clock read; say so while ours is off (risk stops entries)."""
    off: bool | None = None
    while True:
        try:
            await clob.read_clock()
        except Unavailable as error:
            logger.warning("clock.unread", error=str(error))
        skew, before = clob.skew_s, off
        off = abs(skew) > MAX_SKEW_S
        if off is not before:
            await boot.ledger.transact(_tell_skew, skew if off else 0)
        await asyncio.sleep(CLOCK_S)


async def _mind_restriction(boot: Boot, clob: Clob) -> None:
    """Ask at start and now and then whether entries are allowed here; say so where they are not."""
    wait = RESTRICTED_S
    while True:
        try:
            reason = await clob.restriction()
        except Unavailable as error:
            logger.warning("restriction.unread", error=str(error))
        else:
            await boot.ledger.transact(_tell_restriction, reason)
            wait = RESTRICTION_S if reason is None else RESTRICTED_S
        await asyncio.sleep(wait)


def _tell_restriction(tx: Tx, reason: str | None) -> None:
    if reason is None:
        control.unlock(tx, control.RESTRICTED)
        control.clear_alerts(tx, set(), "account:restricted", now_us=now_us())
        return
    control.lock(tx, control.RESTRICTED, reason)
    text = f"{reason}; entries stop"
    control.alert(tx, "account:restricted", "critical", text, now_us=now_us())


async def _compare(reconciler: Reconciler, *, balances: bool = True) -> int:
    """Compare ledger and exchange, and return when to do so again, in seconds."""
    try:
        found = await reconciler.compare(now_us=now_us(), balances=balances)
    except Unavailable as error:
        logger.warning("reconcile.unavailable", error=str(error))
        return RETRY_S
    return RECONCILE_S if found.quiet else BUSY_S


async def _watch_differences(reconciler: Reconciler, wait: int) -> None:
    while True:
        await asyncio.sleep(wait)
        wait = await _compare(reconciler)


def _tell_skew(tx: Tx, skew: int) -> None:
    if skew:
        text = (
            f"our clock is off the exchange's by {skew} s; entries stop,"
            " check the machine's time service"
        )
        control.alert(tx, "clock:skew", "critical", text, now_us=now_us())
    else:
        control.clear_alerts(tx, set(), "clock:", now_us=now_us())


async def _keep_fresh(boot: Boot, books: Books, clob: Clob) -> None:
    while True:
        await prefetch(boot.ledger, books, clob.public, now_us=now_us())
        await asyncio.sleep(PREFETCH_S)


if __name__ == "__main__":
    harden()
    sys.exit(run("executor", executor))
