"""Data API v2 of the simulation: what every wallet did and holds, with its traps.

Rows appear once the trade is mined, `activity_lag` after the match at the soonest; holdings are
behind by `positions_lag`. An answer without a new parameter is served stale from a cache;
`next_cursor` as a parameter is ignored; an omitted `start` is a bounded window; /v2/trades hides
maker fills, and /v2/activity deposits and withdrawals, unless asked. Everybody's trades are minutes
behind, and a row may say that it is of long before it shows.
"""

import base64
import time
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

from aiohttp import web

from bot.sim.entities import MICRO, Account, SimTrade
from bot.sim.exchange import Exchange
from bot.sim.holdings import Holdings
from bot.sim.rows import HIDDEN_KINDS, CashRow, FeedRow, rows_of

CACHE_US = 15 * MICRO
DEFAULT_WINDOW_S = 3 * 365 * 86_400
CACHED_ANSWERS = 1000


class Indexed(NamedTuple):
    """A row of the index: from when it shows, and whether it is the taker's."""

    visible_us: int
    row: FeedRow | CashRow
    taker: bool


class DataServer:
    """Public history of every wallet."""

    def __init__(
        self, exchange: Exchange, activity_lag_us: int, positions_lag_us: int, global_lag_us: int
    ) -> None:
        self.exchange = exchange
        self._planned = activity_lag_us, positions_lag_us
        self.activity_lag_us, self.positions_lag_us = self._planned
        self._global_lag_us = global_lag_us
        self.aged_s = 0  #: rows say that they are of so long before
        self.stalled_us: int | None = None  #: since when nothing new is indexed
        self._rows: list[Indexed] = []
        self._of: defaultdict[str, list[Indexed]] = defaultdict(list)  #: by wallet in lower case
        self._cache: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        return [
            web.get("/v2/activity", self.activity),
            web.get("/v2/trades", self.trades),
            web.get("/v2/positions", self.positions),
            web.get("/v2/status", self.status),
        ]

    def heal(self) -> None:
        """Be as late as planned again."""
        self.activity_lag_us, self.positions_lag_us = self._planned
        self.aged_s, self.stalled_us = 0, None

    def publish(self, rows: list[FeedRow]) -> None:
        """Index the rows of one transaction, the taker's first; they show after the lag."""
        visible = self.exchange.now_us + self.activity_lag_us
        self._index([Indexed(visible, row, i == 0) for i, row in enumerate(rows)])

    def _index(self, found: list[Indexed]) -> None:
        self._rows += found
        for each in found:
            self._of[each.row.wallet.lower()].append(each)

    def mined(self, trade: SimTrade) -> None:
        """Index a trade that is on the chain, under the hash that it has there."""
        now = self.exchange.now_us
        matched_us = trade.at_us - self.exchange.clock_us
        visible = max(matched_us + self.activity_lag_us, now)
        rows = rows_of(trade, self.exchange.clock_s - self.aged_s)
        self._index([Indexed(visible, row, i == 0) for i, row in enumerate(rows)])

    def unmined(self, tx: str) -> None:
        """Forget a transaction: its block is out of the chain."""
        kept, self._rows = [found for found in self._rows if found.row.tx != tx], []
        self._of.clear()
        self._index(kept)

    def moved(self, row: CashRow) -> None:
        """Index money that moved by itself."""
        self._index([Indexed(self.exchange.now_us + self.activity_lag_us, row, taker=False)])

    def _visible(self, user: str | None) -> list[Indexed]:
        now, wallet = self.exchange.now_us, (user or "").lower()
        if self.stalled_us is not None:
            now = self.stalled_us
        late_us = 0 if wallet else self._global_lag_us
        rows = self._of.get(wallet, []) if wallet else self._rows
        return [found for found in rows if found.visible_us + late_us <= now]

    async def status(self, _: web.Request) -> web.Response:
        """GET /v2/status: how far behind the index is. Crawlers look well while nothing moves."""
        now = self.exchange.now_us
        lag_us = now - self.stalled_us if self.stalled_us is not None else self.activity_lag_us
        serving = {"lag_seconds": lag_us / MICRO, "worst": "activity"}
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now // MICRO))
        return web.json_response(
            {"serving": serving, "ingestion": {"lag_seconds": 0}, "computed_at": at,
             "age_seconds": 0}
        )  # fmt: skip

    async def activity(self, request: web.Request) -> web.Response:
        """GET /v2/activity: both roles."""
        q = request.query
        if not q.get("user"):
            return refusal("user is required", "user")
        kinds = [kind for kind in q.get("type", "").split(",") if kind]
        hidden = HIDDEN_KINDS if q.get("exclude_deposits_withdrawals", "true") != "false" else ()
        rows = [
            found.row
            for found in self._visible(q["user"])
            if (not kinds or found.row.kind in kinds) and found.row.kind not in hidden
        ]
        return self._answer(request, [row.activity() for row in self._window(rows, request)])

    async def trades(self, request: web.Request) -> web.Response:
        """GET /v2/trades: taker rows only, unless taker_only=false."""
        q = request.query
        everything = q.get("taker_only", "true") == "false"
        rows: list[FeedRow | CashRow] = [
            found.row
            for found in self._visible(q.get("user"))
            if isinstance(found.row, FeedRow) and (found.taker or everything)
        ]
        found = [row.activity() for row in self._window(rows, request)]
        left_out = ("type", "usdc_size", "is_combo")
        shown = [{k: v for k, v in row.items() if k not in left_out} for row in found]
        return self._answer(request, shown)

    def _window(
        self, rows: list[FeedRow | CashRow], request: web.Request
    ) -> list[FeedRow | CashRow]:
        q = request.query
        start = int(q.get("start") or self.exchange.now_us // MICRO - DEFAULT_WINDOW_S)
        end = int(q.get("end") or 2**40)
        kept = [row for row in rows if start <= row.traded_s <= end]
        if "side" in q:
            kept = [row for row in kept if isinstance(row, FeedRow) and row.side == q["side"]]
        if "condition_id" in q:
            asked = q["condition_id"].split(",")
            kept = [row for row in kept if row.market and row.market.condition in asked]
        newest_first = q.get("sort_direction", "DESC") != "ASC"
        return sorted(kept, key=lambda row: row.traded_s, reverse=newest_first)

    async def positions(self, request: web.Request) -> web.Response:
        """GET /v2/positions, of one wallet or of one condition."""
        q = request.query
        conditions = [c for c in q.get("condition_id", "").split(",") if c]
        if not q.get("user") and len(conditions) != 1:
            return refusal("user or exactly one condition_id is required", "user")
        accounts = (
            [self.exchange.accounts.get(q["user"].lower())]
            if q.get("user")
            else [*self.exchange.accounts.values()]
        )
        seen_us = self.exchange.now_us - self.positions_lag_us
        holdings = Holdings(self.exchange, seen_us)
        rows = [
            row
            for account in accounts
            if account is not None
            for row in holdings.rows(account, self._fills(account), q.get("status", ""))
            if not conditions or row["condition_id"] in conditions
        ]
        return self._answer(request, rows)

    def _fills(self, account: Account) -> list[FeedRow]:
        rows = (found.row for found in self._of.get(account.wallet.lower(), ()))
        return [row for row in rows if isinstance(row, FeedRow)]

    def _answer(self, request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
        key, now = request.path_qs, self.exchange.now_us
        cached = self._cache.get(key)
        if cached is not None and now - cached[0] < CACHE_US:
            return web.json_response(cached[1])
        limit = min(max(int(request.query.get("limit", "100")), 1), 1000)
        start = int(base64.urlsafe_b64decode(request.query.get("cursor", "MA==")))
        more = start + limit < len(rows)
        after = base64.urlsafe_b64encode(str(start + limit).encode()).decode()
        answer = {
            "data": rows[start : start + limit],
            "pagination": {
                "limit": limit, "has_more": more, "next_cursor": after if more else None
            },
        }  # fmt: skip
        self._cache[key] = (now, answer)
        if len(self._cache) > CACHED_ANSWERS:
            self._cache.popitem(last=False)
        return web.json_response(answer)


def refusal(message: str, parameter: str) -> web.Response:
    """Return an error answer in the Data API's shape."""
    answer = {
        "error": message, "code": "bad_request", "retryable": False, "trace_id": "0",
        "parameter": parameter,
    }  # fmt: skip
    return web.json_response(answer, status=400)
