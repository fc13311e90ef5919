"""State, not events: portfolios, intents that stand, covers.

What was on its way goes on: an order in flight keeps its intent, an exit that waited for its next
attempt stands, what nobody had decided is decided by the new rules. A holding of nobody, or at
prices that no share can have, belongs to `external`, and an event names it. Arithmetic is spelled
out here: a migration must not change with the program.
"""

import datetime
from collections import defaultdict

import sqlalchemy as sa
from alembic import op

from bot.errors import LedgerDamaged

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

NOBODY = '0x0000000000000000000000000000000000000000'
CENT, MICRO = 10_000, 1_000_000
FLYING = "state IN ('posting', 'unknown', 'open')"
OLD = ('decision', 'fill', 'signal', 'orders', 'position')
INDEXES = (
    'ix_decision_at', 'ix_fill_order', 'ix_fill_position', 'ix_fill_unsettled', 'ix_signal_pending',
    'ix_orders_created', 'ix_orders_in_flight', 'ix_position_condition', 'ix_position_token',
)

TABLES = """
CREATE TABLE intent (
  id INTEGER NOT NULL PRIMARY KEY, portfolio TEXT NOT NULL, condition TEXT NOT NULL, token TEXT NOT NULL,
  kind TEXT NOT NULL, target INTEGER NOT NULL, price INTEGER, budget INTEGER NOT NULL, signal_id TEXT NOT NULL,
  state TEXT NOT NULL, opened_us INTEGER NOT NULL, due_us INTEGER NOT NULL, tries INTEGER NOT NULL,
  waits TEXT NOT NULL, ended_us INTEGER) STRICT;
CREATE TABLE cover (
  portfolio TEXT NOT NULL, token TEXT NOT NULL, shares INTEGER NOT NULL, leader INTEGER NOT NULL,
  updated_us INTEGER NOT NULL, PRIMARY KEY (portfolio, token)) STRICT;
CREATE TABLE burst (
  portfolio TEXT NOT NULL, token TEXT NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
  budget INTEGER NOT NULL, spent INTEGER NOT NULL, PRIMARY KEY (portfolio, token, first_us)) STRICT;
CREATE TABLE settlement (
  portfolio TEXT NOT NULL, token TEXT NOT NULL, at_us INTEGER NOT NULL, condition TEXT NOT NULL,
  shares INTEGER NOT NULL, usdc INTEGER NOT NULL, source TEXT NOT NULL,
  PRIMARY KEY (portfolio, token, at_us)) STRICT;
CREATE TABLE quarantine (
  source TEXT NOT NULL, subject TEXT NOT NULL, token TEXT, why TEXT NOT NULL, first_us INTEGER NOT NULL,
  last_us INTEGER NOT NULL, cleared_us INTEGER, PRIMARY KEY (source, subject)) STRICT;
CREATE TABLE tally (
  day TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY (day, kind, key)) STRICT;
CREATE TABLE signal (
  id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, portfolio TEXT NOT NULL, condition TEXT NOT NULL,
  token TEXT NOT NULL, trade_id INTEGER,
  note TEXT DEFAULT '' NOT NULL, seq INTEGER NOT NULL, shares INTEGER NOT NULL, usdc INTEGER NOT NULL,
  leader_before INTEGER NOT NULL, leader_after INTEGER NOT NULL, leader_peak INTEGER NOT NULL,
  leader_watched INTEGER NOT NULL, source TEXT NOT NULL, seen_us INTEGER NOT NULL, decided INTEGER NOT NULL,
  UNIQUE (trade_id, seq), FOREIGN KEY (trade_id) REFERENCES leader_trade (id) ON DELETE CASCADE) STRICT;
CREATE TABLE decision (
  signal_id TEXT NOT NULL PRIMARY KEY, verdict TEXT NOT NULL,
  reason TEXT, numbers TEXT NOT NULL, intent_id INTEGER REFERENCES intent (id), boot_id INTEGER NOT NULL,
  decided_us INTEGER NOT NULL,
  FOREIGN KEY (signal_id) REFERENCES signal (id) ON DELETE CASCADE,
  CONSTRAINT copied_has_intent CHECK ((verdict = 'copied') = (intent_id IS NOT NULL))) STRICT;
CREATE TABLE orders (
  id TEXT NOT NULL PRIMARY KEY, intent_id INTEGER REFERENCES intent (id), attempt INTEGER NOT NULL,
  portfolio TEXT NOT NULL, condition TEXT NOT NULL, token TEXT NOT NULL, side TEXT NOT NULL, kind TEXT NOT NULL,
  price INTEGER NOT NULL, maker_amount INTEGER NOT NULL, taker_amount INTEGER NOT NULL,
  reserved INTEGER NOT NULL, body BLOB NOT NULL, state TEXT NOT NULL, created_us INTEGER NOT NULL,
  deadline_us INTEGER NOT NULL, sends INTEGER NOT NULL, sent_us INTEGER, last_sent_us INTEGER, matched INTEGER,
  reason TEXT, doubted INTEGER NOT NULL, expires_us INTEGER, cancel_us INTEGER, cancelled_us INTEGER,
  ended_us INTEGER,
  UNIQUE (intent_id, attempt)) STRICT;
CREATE TABLE fill (
  trade_id TEXT NOT NULL, order_id TEXT NOT NULL REFERENCES orders (id), portfolio TEXT NOT NULL,
  condition TEXT NOT NULL, token TEXT NOT NULL, side TEXT NOT NULL, shares INTEGER NOT NULL,
  usdc INTEGER NOT NULL, fee INTEGER NOT NULL, settlement TEXT NOT NULL, tx TEXT, matched_us INTEGER NOT NULL,
  settled_us INTEGER, PRIMARY KEY (trade_id, order_id)) STRICT;
CREATE TABLE position (
  portfolio TEXT NOT NULL, token TEXT NOT NULL, condition TEXT NOT NULL, shares INTEGER NOT NULL,
  cost INTEGER NOT NULL, realized INTEGER NOT NULL, updated_us INTEGER NOT NULL,
  PRIMARY KEY (portfolio, token)) STRICT;
CREATE UNIQUE INDEX ux_intent_open ON intent (portfolio, token) WHERE state = 'open';
CREATE INDEX ix_intent_due ON intent (due_us) WHERE state = 'open';
CREATE INDEX ix_intent_position ON intent (portfolio, token);
CREATE INDEX ix_decision_at ON decision (decided_us);
CREATE INDEX ix_decision_intent ON decision (intent_id);
CREATE INDEX ix_signal_pending ON signal (seen_us) WHERE decided = 0;
CREATE UNIQUE INDEX ux_orders_one_in_flight ON orders (intent_id) WHERE state IN ('posting', 'unknown', 'open');
CREATE INDEX ix_orders_created ON orders (created_us);
CREATE INDEX ix_orders_position ON orders (portfolio, token);
CREATE INDEX ix_orders_in_flight ON orders (created_us) WHERE state IN ('posting', 'unknown', 'open');
CREATE INDEX ix_fill_order ON fill (order_id);
CREATE INDEX ix_fill_position ON fill (portfolio, token);
CREATE INDEX ix_fill_unsettled ON fill (token) WHERE settlement NOT IN ('confirmed', 'failed');
CREATE INDEX ix_position_condition ON position (condition);
CREATE INDEX ix_position_token ON position (token);
ALTER TABLE leader_trade ADD COLUMN kind TEXT DEFAULT 'trade' NOT NULL;
ALTER TABLE leader_trade ADD COLUMN state TEXT DEFAULT 'mined' NOT NULL;
ALTER TABLE leader_trade ADD COLUMN block INTEGER;
ALTER TABLE leader_position ADD COLUMN block INTEGER;
ALTER TABLE market ADD COLUMN status TEXT DEFAULT 'trading' NOT NULL;
ALTER TABLE market ADD COLUMN payouts TEXT;
ALTER TABLE market ADD COLUMN payout_source TEXT
"""

#: One intent for each order that was decided here. What was bought in flight is withdrawn: no
#: further attempt. What was being sold stands until it is sold.
INTENTS = f"""
INSERT INTO intent
SELECT n.n, 'mirror/' || o.wallet, o.condition, o.token, CASE o.side WHEN 'BUY' THEN 'entry' ELSE 'exit' END,
  CASE WHEN o.side = 'BUY' THEN o.taking ELSE 0 END, o.price, CASE WHEN o.side = 'BUY' THEN o.making ELSE 0 END,
  o.signal_id, CASE WHEN o.{FLYING} THEN 'withdrawn' WHEN o.state = 'filled' THEN 'reached' ELSE 'expired' END,
  o.created_us, o.created_us, 0, '', o.created_us
FROM old_orders o JOIN numbered n ON n.id = o.id
"""

OPEN = "SELECT id, target FROM intent WHERE portfolio = :portfolio AND token = :token AND state = 'open'"
COPIES = (
    "CREATE TEMP TABLE numbered AS SELECT id, ROW_NUMBER() OVER (ORDER BY created_us, id) AS n"
    " FROM old_orders WHERE signal_id NOT LIKE 'adopted:%'",
    INTENTS,
    "INSERT INTO signal SELECT s.id, CASE t.side WHEN 'BUY' THEN 'increase' ELSE 'decrease' END,"
    " 'mirror/' || t.wallet, t.condition, t.token, s.trade_id, '', s.seq, s.shares, s.usdc, s.leader_before,"
    " s.leader_after, s.leader_peak, s.leader_watched, s.source, s.seen_us, s.decided"
    " FROM old_signal s JOIN leader_trade t ON t.id = s.trade_id",
    "INSERT INTO decision SELECT d.signal_id, d.verdict, d.reason, d.numbers, n.n, d.boot_id, d.decided_us"
    " FROM old_decision d LEFT JOIN numbered n ON n.id = d.order_id",
    "INSERT INTO orders SELECT o.id, n.n, 1,"
    f" CASE o.wallet WHEN '{NOBODY}' THEN 'external' ELSE 'mirror/' || o.wallet END, o.condition,"
    " o.token, o.side, 'FAK', o.price, o.making, o.taking, o.reserved, o.body, o.state, o.created_us, o.deadline_us,"
    " o.sends, o.sent_us, o.last_sent_us, o.matched, CASE WHEN n.n IS NULL THEN 'foreign' ELSE o.reason END,"
    " o.state IN ('unknown', 'expired'), NULL, NULL, NULL,"
    f" CASE WHEN o.{FLYING} THEN NULL ELSE COALESCE(o.last_sent_us, o.created_us) END FROM old_orders o LEFT JOIN numbered n ON n.id = o.id",
    "INSERT INTO fill SELECT f.trade_id, f.order_id,"
    f" CASE f.wallet WHEN '{NOBODY}' THEN 'external' ELSE 'mirror/' || f.wallet END, f.condition,"
    " f.token, f.side, f.shares, f.usdc, f.fee, f.settlement, f.tx, f.matched_us, f.settled_us FROM old_fill f",
    "INSERT INTO position SELECT"
    f" CASE p.wallet WHEN '{NOBODY}' THEN 'external' ELSE 'mirror/' || p.wallet END,"
    " p.token, p.condition, p.shares, p.cost, p.realized, p.updated_us FROM old_position p",
)


#: Counters begin with what can still be counted.
TALLIES = (
    "INSERT INTO tally SELECT date(decided_us / 1000000, 'unixepoch'), 'decision', COALESCE(reason, verdict), COUNT(*)"
    " FROM decision GROUP BY 1, 3",
    "INSERT INTO tally SELECT date(ended_us / 1000000, 'unixepoch'), 'order', state, COUNT(*) FROM orders"
    " WHERE ended_us IS NOT NULL GROUP BY 1, 3",
)


def upgrade() -> None:
    db = op.get_bind()
    # Positions go on to be judged by the whole of their fills: what does not add up would be kept.
    sums = _sums(db, _old_fold, 'wallet')
    _refuse(db, sums)
    for name in INDEXES:
        db.exec_driver_sql(f"DROP INDEX {name}")
    for table in OLD:
        db.exec_driver_sql(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in TABLES.split(';'):
        db.exec_driver_sql(statement)
    for statement in COPIES:
        db.exec_driver_sql(statement)
    for table in OLD:
        db.exec_driver_sql(f"DROP TABLE old_{table}")
    db.exec_driver_sql("DROP TABLE numbered")
    for statement in TALLIES:
        db.exec_driver_sql(statement)
    _move_out(db)
    _fold_anew(db)
    _stand(db)
    _content(db)
    _cover(db)


def _rows(db, sql, **values):
    return [dict(row._mapping) for row in db.execute(sa.text(sql), values)]


def _day(at_us):
    return datetime.datetime.fromtimestamp(at_us // MICRO, datetime.UTC).date().isoformat()


def _old_fold(fills):
    """As positions were folded so far: what was sold without being held had no cost."""
    shares = cost = realized = cash = 0
    days = defaultdict(int)
    for f in fills:
        if f['side'] == 'BUY':
            shares, cost = shares + f['shares'], cost + f['usdc'] + f['fee']
            cash -= f['usdc'] + f['fee']
        else:
            part = cost if f['shares'] >= shares else cost * f['shares'] // shares
            gain = f['usdc'] - f['fee'] - part
            shares, cost, realized = shares - f['shares'], cost - part, realized + gain
            cash += f['usdc'] - f['fee']
            days[_day(f['matched_us'])] += gain
    return (shares, cost, realized), days, cash


def _new_fold(fills):
    """As they are folded from here on: what is sold short is realised when it is bought back."""
    shares = cost = realized = cash = 0
    days = defaultdict(int)
    for f in fills:
        buy = f['side'] == 'BUY'
        moved, money = (f['shares'], f['usdc'] + f['fee']) if buy else (-f['shares'], f['fee'] - f['usdc'])
        gain, cash = 0, cash - money
        if not moved or not shares or (shares > 0) == (moved > 0):
            shares, cost = shares + moved, cost + money
        else:
            closed = min(abs(moved), abs(shares))
            part = cost if closed == abs(shares) else cost * closed // abs(shares)
            paid = money if closed == abs(moved) else money * closed // abs(moved)
            shares, cost, gain = shares + moved, cost - part + money - paid, -part - paid
        realized += gain
        days[_day(f['matched_us'])] += gain
    return (shares, cost, realized), days, cash


def _sums(db, fold, owner):
    """Return {(owner, token): fold of its fills}, one position at a time."""
    found = {}
    for key in _rows(db, f"SELECT DISTINCT {owner} AS owner, token FROM fill"):
        fills = _rows(
            db, f"SELECT * FROM fill WHERE {owner} = :owner AND token = :token AND settlement <> 'failed'"
            " ORDER BY matched_us, side = 'SELL', trade_id, order_id", **key,
        )
        found[key['owner'], key['token']] = fold(fills)
    return found


def _refuse(db, sums):
    stored = {
        (r['wallet'], r['token']): (r['shares'], r['cost'], r['realized'])
        for r in _rows(db, "SELECT * FROM position")
    }
    for key in sorted({*sums, *stored}):
        by_fills = sums[key][0] if key in sums else (0, 0, 0)
        if stored.get(key, (0, 0, 0)) != by_fills:
            raise LedgerDamaged(
                f"position of {key[0]} in token {key[1]}: {stored.get(key)} is stored,"
                f" {by_fills} follows from its fills; restore a backup with botctl db restore"
            )
    moved = sum(cash for _, _, cash in sums.values())
    kept = db.execute(sa.text("SELECT COALESCE(SUM(cash - opening), 0) FROM account")).scalar()
    if moved != kept:
        raise LedgerDamaged(
            f"account: cash has moved by {kept}, {moved} follows from the fills; restore a backup"
            " with botctl db restore"
        )


def _move_out(db):
    """Give what nobody here has ordered, or what cost more than it can pay, to `external`."""
    odd = _rows(db, "SELECT * FROM position WHERE portfolio <> 'external' AND shares > 0 AND cost > shares + 100000")
    for row in odd:
        for table in ('fill', 'position'):
            db.execute(
                sa.text(f"UPDATE {table} SET portfolio = 'external' WHERE portfolio = :portfolio AND token = :token"),
                {'portfolio': row['portfolio'], 'token': row['token']},
            )


def _fold_anew(db):
    for (portfolio, token), (position, days, _) in _sums(db, _new_fold, 'portfolio').items():
        key = {'portfolio': portfolio, 'token': token}
        before = _rows(db, "SELECT * FROM position WHERE portfolio = :portfolio AND token = :token", **key)
        if before and tuple(before[0][n] for n in ('shares', 'cost', 'realized')) == position:
            continue
        shares, cost, realized = position
        fills = _rows(
            db, "SELECT * FROM fill WHERE portfolio = :portfolio AND token = :token AND settlement <> 'failed'"
            " ORDER BY matched_us, side = 'SELL', trade_id, order_id", **key,
        )
        if shares > 0 and cost > shares:
            raise LedgerDamaged(
                f"position of {portfolio} in token {token}: its fills cost {cost} for {shares} shares, and no"
                " share pays more than 1; restore a backup with botctl db restore"
            )
        db.execute(
            sa.text("UPDATE position SET shares = :shares, cost = :cost, realized = :realized"
                    " WHERE portfolio = :portfolio AND token = :token"),
            {**key, 'shares': shares, 'cost': cost, 'realized': realized},
        )
        _, old_days, _ = _old_fold(fills)
        for day in {*days, *old_days}:
            db.execute(
                sa.text("UPDATE daily_pnl SET realized = realized + :change WHERE day = :day"),
                {'day': day, 'change': days.get(day, 0) - old_days.get(day, 0)},
            )
    for row in _rows(db, "SELECT * FROM position WHERE portfolio = 'external' AND shares <> 0"):
        text = f"{row['shares'] / MICRO} shares of token {row['token']} belong to nobody here: external"
        db.execute(
            sa.text("INSERT INTO event (at_us, worker, kind, text)"
                    " VALUES (:at, 'migration', 'position.external', :text)"),
            {'at': row['updated_us'], 'text': text},
        )


def _stand(db):
    """Let the exits stand that were being made, or waited for their next attempt."""
    for row in _rows(
        db, "SELECT o.intent_id, o.portfolio, o.token, t.token AS his, o.price,"
        " t.emitted_usdc * 1000000 / t.emitted_shares AS traded, o.maker_amount - (SELECT COALESCE(SUM(f.shares), 0)"
        " FROM fill f WHERE f.order_id = o.id) AS rest FROM orders o JOIN intent i ON i.id = o.intent_id"
        " LEFT JOIN signal s ON s.id = i.signal_id LEFT JOIN leader_trade t ON t.id = s.trade_id"
        f" WHERE o.side = 'SELL' AND o.{FLYING}",
    ):
        held = _held(db, row['portfolio'], row['token'])
        price = row['price'] if row['traded'] is None else row['traded']
        if row['his'] not in (None, row['token']):
            price = MICRO - price  # he bought the other side
        db.execute(
            sa.text("UPDATE intent SET state = 'open', ended_us = NULL, target = :target, price = :price WHERE id = :id"),
            {'id': row['intent_id'], 'target': max(held - max(row['rest'], 0), 0), 'price': price},
        )
    for row in _rows(
        db, "SELECT s.*, t.side, t.emitted_usdc * 1000000 / t.emitted_shares AS price FROM signal s"
        " JOIN leader_trade t ON t.id = s.trade_id WHERE s.decided = 0 AND s.source = 'retry' ORDER BY s.seen_us, s.id",
    ):
        _stand_again(db, row)


def _stand_again(db, row):
    token, price = row['token'], row['price']
    if row['side'] == 'BUY':
        # He bought the other side: what he got for ours is the rest of a dollar.
        others = _rows(
            db, "SELECT token FROM position WHERE portfolio = :portfolio AND condition = :condition"
            " AND token <> :token AND shares >= 10000",
            **{n: row[n] for n in ('portfolio', 'condition', 'token')},
        )
        token, price = (others[0]['token'] if others else token), MICRO - price
    key = {'portfolio': row['portfolio'], 'token': token}
    standing = _rows(db, OPEN, **key)
    before = standing[0]['target'] if standing else _held(db, **key)
    target = max(before - row['shares'], 0)
    if standing:
        number = standing[0]['id']
        db.execute(sa.text("UPDATE intent SET target = :target WHERE id = :id"), {'id': number, 'target': target})
    else:
        number = db.execute(
            sa.text("INSERT INTO intent (portfolio, condition, token, kind, target, price, budget, signal_id, state,"
                    " opened_us, due_us, tries, waits) VALUES (:portfolio, :condition, :token, 'exit', :target, :price,"
                    " 0, :signal, 'open', :now, :now, 0, '') RETURNING id"),
            {**key, 'condition': row['condition'], 'target': target, 'price': price, 'signal': row['id'],
             'now': row['seen_us']},
        ).scalar()
    db.execute(sa.text("UPDATE signal SET decided = 1 WHERE id = :id"), {'id': row['id']})
    db.execute(
        sa.text("INSERT INTO decision (signal_id, verdict, numbers, intent_id, boot_id, decided_us)"
                " VALUES (:id, 'copied', '{}', :number, 0, :now)"),
        {'id': row['id'], 'number': number, 'now': row['seen_us']},
    )


def _held(db, portfolio, token):
    sql = "SELECT shares FROM position WHERE portfolio = :portfolio AND token = :token"
    found = _rows(db, sql, portfolio=portfolio, token=token)
    return found[0]['shares'] if found else 0


def _content(db):
    """Let an exit that is over be about what was left: a sale of it that fails is made again, nothing more."""
    db.exec_driver_sql(
        "UPDATE intent SET target = MAX(COALESCE((SELECT p.shares FROM position p"
        " WHERE p.portfolio = intent.portfolio AND p.token = intent.token), 0), 0)"
        " WHERE kind = 'exit' AND state <> 'open'"
    )


def _cover(db):
    """Note for each position what the leader held: before what nobody has decided yet."""
    for row in _rows(db, "SELECT * FROM position WHERE portfolio LIKE 'mirror/%' AND shares >= 10000"):
        key = {'portfolio': row['portfolio'], 'token': row['token']}
        target = _rows(db, OPEN, **key)
        exposure = db.execute(
            sa.text("SELECT COALESCE(SUM(CASE WHEN token = :token THEN shares WHEN shares > 0 THEN -shares"
                    " ELSE 0 END), 0) FROM leader_position WHERE condition = :condition AND 'mirror/' || wallet = :portfolio"),
            {**key, 'condition': row['condition']},
        ).scalar()
        undecided = db.execute(
            sa.text("SELECT COALESCE(SUM(CASE WHEN (token = :token) = (kind = 'increase') THEN shares ELSE -shares END),"
                    " 0) FROM signal WHERE decided = 0 AND portfolio = :portfolio AND condition = :condition"),
            {**key, 'condition': row['condition']},
        ).scalar()
        db.execute(
            sa.text("INSERT INTO cover VALUES (:portfolio, :token, :shares, :leader, :now)"),
            {**key, 'shares': target[0]['target'] if target else row['shares'],
             'leader': max(exposure - undecided, 0), 'now': row['updated_us']},
        )


def downgrade() -> None:
    raise NotImplementedError("a ledger is never taken back; restore a backup")
