"""Read an answer to POST /order: accepted, deferred, rejected with proof, or unknown.

Only a text that proves that nothing was booked is a rejection. Everything unrecognised is
unknown, and unknown ends by evidence alone (py-clob-client#273: timeouts that had filled).
"""

from decimal import Decimal

import msgspec

from bot.model.amounts import CENT
from bot.model.order import Accepted, Deferred, Outcome, Rejected, RejectReason, Unknown
from bot.model.units import MICRO, printable

_R = RejectReason
#: Lower-case fragment of every documented refusal, most specific first, and its meaning.
REFUSALS: tuple[tuple[str, RejectReason], ...] = (
    ("breaks minimum tick size", _R.TICK),
    ("lower than the minimum", _R.MIN_SIZE),
    ("min size: $1", _R.MIN_SIZE),
    ("invalid amounts", _R.AMOUNTS),
    ("rounding issues", _R.AMOUNTS),
    ("the allowance is not enough", _R.NO_ALLOWANCE),
    ("not enough balance", _R.NO_BALANCE),
    ("crosses the book", _R.CROSSES_BOOK),
    ("order crosses book", _R.CROSSES_BOOK),
    ("discrepancy greater than allowed", _R.CROSSES_BOOK),
    ("not yet ready to process new orders", _R.MARKET_NOT_READY),
    ("order_version_mismatch", _R.VERSION),
    ("invalid signature", _R.SIGNATURE),
    ("deposit wallet flow", _R.WALLET),
    ("address banned", _R.BANNED),
    ("closed only mode", _R.BANNED),
    ("trading restricted in your region", _R.GEOBLOCK),
    ("has to be the owner of the api key", _R.CREDENTIALS),
    ("has to be the address of the api key", _R.CREDENTIALS),
    ("invalid order payload", _R.PAYLOAD),
    ("too many orders in payload", _R.PAYLOAD),
    ("invalid nonce", _R.PAYLOAD),
    ("invalid expiration", _R.PAYLOAD),
    ("canceled in the ctf exchange contract", _R.EXCHANGE),
    ("not found", _R.NOT_FOUND),
)

#: Texts of an order that reached the book and found nothing there, or so it is said.
KILLED = (
    "no orders found to match with fak",
    "fok orders are fully filled or killed",
    "there are no matching orders",
)


class _Answer(msgspec.Struct):
    success: bool | None = None
    error: str | None = None
    errorMsg: str | None = None
    orderID: str | None = None
    status: str | None = None
    makingAmount: str | None = None
    takingAmount: str | None = None
    retry_after_seconds: int | None = None


def read_outcome(
    status: int, body: bytes, *, order_id: str, maker_amount: int, retry_after: str | None
) -> Outcome:
    """Return what an answer proves about an order.

    The order has id `order_id` and maker amount `maker_amount`.
    """
    if status in (425, 429, 503):
        return Deferred(f"HTTP {status}", _seconds(retry_after) or _hint(body))
    if status >= 500 or status < 200:
        return Unknown(f"HTTP {status}")
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.MsgspecError:
        # A page of the edge: the request never reached the exchange. It is weather.
        return (
            Deferred("HTTP 403 page")
            if status == 403
            else Unknown(f"HTTP {status}, unreadable body")
        )
    text = answer.error or answer.errorMsg or ""
    if status == 200 and answer.success and not text:
        return _accepted(answer, order_id, maker_amount)
    return _refused(status, text)


def _refused(status: int, text: str) -> Outcome:
    lowered = text.lower()
    if "duplicated" in lowered:
        return Accepted("duplicate")
    if any(fragment in lowered for fragment in KILLED):
        return Accepted("killed", text=printable(text))
    for fragment, reason in REFUSALS:
        if fragment in lowered:
            return Rejected(reason, printable(text))
    if status == 401:
        return Rejected(_R.CREDENTIALS, printable(text))
    if status == 403:
        return Rejected(_R.GEOBLOCK, printable(text))
    return Unknown(f"HTTP {status}: {printable(text)}")


def _accepted(answer: _Answer, order_id: str, maker_amount: int) -> Outcome:
    if answer.orderID != order_id:
        return Unknown(f"answer names order {printable(answer.orderID)}")
    status = (answer.status or "").lower()
    if status not in ("live", "matched", "delayed", "unmatched"):
        return Unknown(f"answer has status {printable(status)}")
    try:
        amounts = _amounts(answer, maker_amount)
    except (ArithmeticError, ValueError):
        return Unknown("answer has unreadable amounts")
    return Accepted(status, *amounts)  # type: ignore[arg-type]


def _amounts(answer: _Answer, maker_amount: int) -> tuple[int, int]:
    """Return what has matched: decimal text, always. What does not fit is evidence of nothing."""
    made, took = Decimal(answer.makingAmount or 0), Decimal(answer.takingAmount or 0)
    if not (made.is_finite() and took.is_finite()) or min(made, took) < 0:
        raise ValueError("amounts")
    # The exchange rounds on its own: up to a cent more than was offered has been seen.
    fits = made * MICRO <= maker_amount + CENT and took < MICRO
    return (min(int(made * MICRO), maker_amount), int(took * MICRO)) if fits else (0, 0)


def _hint(body: bytes) -> int | None:
    # Post-only mode says in its body how long it lasts.
    try:
        seconds = msgspec.json.decode(body, type=_Answer).retry_after_seconds
    except msgspec.MsgspecError:
        return None
    return min(seconds, 3600) if seconds is not None and seconds >= 0 else None


def _seconds(text: str | None) -> int | None:
    return min(int(text), 3600) if text and text.isascii() and text.isdigit() else None
