"""Logs of the chain become words or BadInput, nothing else; the recorded ones say what stands in
them.
"""

import dataclasses
import json
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.model.chain import Filled, Moved, Place, Resolved, Role, executed
from bot.model.leader import FactKind
from bot.model.market import Side
from bot.polymarket import chain, wire
from bot.sim import logs as told
from bot.sim.chain import Block, Log
from bot.sim.entities import Account, Piece, SimOrder, SimTrade, new_market
from bot.sim.node import receipt, shown
from tests.samples import SAMPLES, needs_shared

M = 1_000_000
EXCHANGES = ("0xe111180000d2663c0091e4f400237545b87b996b",
             "0xe2222d279d744050d28e00520010520000310f59",
             "0xe3333700ca9d93003f00f0f71f8515005f6c00aa")  # fmt: skip
CTF = "0x4d97dcd97ec945f40cf65f87097ace5ea0476045"
KNOWN = chain.Addresses(frozenset(EXCHANGES), frozenset((CTF, told.POSITIONS)))
STATIONS = frozenset((*told.ADAPTERS.values(), *EXCHANGES, told.NEG_RISK))
WALLET, OTHER = "0x" + "a1" * 20, "0x" + "b2" * 20
HASH = "0x" + "cd" * 32


def topic(address):
    return "0x" + address[2:].rjust(64, "0")


def data(*words):
    return "0x" + "".join(f"{word:064x}" for word in words)


def raw(**change):
    fields = {
        "address": EXCHANGES[0], "topics": [chain.ORDER_FILLED, HASH, topic(WALLET), topic(OTHER)],
        "data": data(0, 77, 4 * M, 10 * M, 0, 0, 0), "blockNumber": "0x10", "blockHash": HASH,
        "transactionHash": HASH, "logIndex": "0x2",
    }  # fmt: skip
    return chain.log(json.dumps(fields | change).encode())


def said(**change):
    return chain.said(raw(**change), KNOWN)


@pytest.mark.parametrize(
    ("side", "word", "shares", "usdc"),
    [(Side.BUY, 0, 10 * M, 4 * M), (Side.SELL, 1, 4 * M, 10 * M)],
)
def test_a_filled_order_is_read_by_its_side(side, word, shares, usdc):
    (found,) = said(data=data(word, 77, 4 * M, 10 * M, 0, 0, 0))
    assert (found.side, found.shares, found.usdc, found.token) == (side, shares, usdc, "77")
    assert (found.wallet, found.role, found.place) == (WALLET, Role.MAKER, Place(16, 2, HASH))


def test_who_trades_against_the_exchange_itself_is_the_taker():
    (found,) = said(topics=[chain.ORDER_FILLED, HASH, topic(WALLET), topic(EXCHANGES[0])])
    assert found.role is Role.TAKER
    (found,) = said(topics=[chain.ORDER_FILLED, HASH, topic(WALLET), topic(EXCHANGES[1])])
    assert found.role is Role.MAKER


V1 = "0xd0a08e8c493f9c94f29311604c9de1b4e8c8d4c06bd0c789af57f2d65bfec0f6"


@pytest.mark.parametrize(
    "change",
    [
        {"address": "0x4bfb41d5b3570defd03c39a9a4d8de6bd8b8982e", "topics": [V1, HASH, HASH, HASH]},
        {"topics": [V1, HASH, topic(WALLET), topic(OTHER)]},
        {"address": "0x" + "99" * 20},
        {"address": CTF},
        {"topics": []},
    ],
)
def test_words_of_another_contract_or_version_say_nothing(change):
    assert list(said(**change)) == []


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"data": data(2, 77, M, M, 0, 0, 0)}, "side"),
        ({"data": data(0, 77, M, 0, 0, 0, 0)}, "shares"),
        ({"data": data(0, 77, M, 2**200, 0, 0, 0)}, "amount"),
        ({"data": data(0, 77, M, M, 0, 0)}, "data"),
        ({"data": data(0, 77, M, M, 0, 0, 0)[:-1] + "_"}, "data"),
        ({"data": "0x" + "zz" * 32 * 7}, "data"),
        ({"topics": [chain.ORDER_FILLED, HASH, topic(WALLET)]}, "topics"),
        ({"topics": [chain.ORDER_FILLED, HASH, HASH, topic(OTHER)]}, "address"),
        ({"blockNumber": "16"}, "blockNumber"),
        ({"blockNumber": "0x" + "f" * 40}, "blockNumber"),
        ({"logIndex": "0x1_0"}, "logIndex"),
        ({"transactionHash": "0xab"}, "transactionHash"),
        ({"blockHash": None}, "blockHash"),
        ({"address": CTF, "topics": [chain.TRANSFER_BATCH, HASH, topic(WALLET), topic(OTHER)],
          "data": data(64, 10**9, 1, 5, 1, 5)}, "arrays"),
        ({"address": CTF, "topics": [chain.TRANSFER_BATCH, HASH, topic(WALLET), topic(OTHER)],
          "data": data(64, 128, 1, 5, 0)}, "as many amounts"),
        ({"address": CTF, "topics": [chain.TRANSFER_BATCH, HASH, topic(WALLET), topic(OTHER)],
          "data": data()}, "arrays"),
        ({"address": CTF, "topics": [chain.RESOLVED, HASH, HASH, HASH],
          "data": data(2, 64, 2, 0, 0)}, "numerator"),
    ],
)  # fmt: skip
def test_a_log_that_is_not_of_its_events_shape_is_refused_by_the_name_of_the_field(change, names):
    with pytest.raises(wire.BadInput, match=names):
        said(**change)


@given(
    st.sampled_from((*EXCHANGES, CTF)),
    st.sampled_from(
        (chain.ORDER_FILLED, chain.TRANSFER_SINGLE, chain.TRANSFER_BATCH, chain.RESOLVED)
    ),
    st.lists(st.one_of(st.just(HASH), st.just(topic(WALLET)), st.text(max_size=70)), max_size=4),
    st.one_of(
        st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**256 - 1)), max_size=20).map(
            lambda words: data(*words)
        ),
        st.text(max_size=200),
    ),
)
def test_nothing_but_words_or_bad_input_comes_out(address, name, topics, text):
    try:
        found = said(address=address, topics=[name, *topics], data=text)
    except wire.BadInput:
        return
    assert all(isinstance(one, Filled | Moved | Resolved) for one in found)


SIZES = st.integers(1, 500).map(lambda n: n * 10_000)


def settled(*, kind, side, makers):
    """Return a settled match of the simulation: its block, and what the taker really paid."""
    facts = {"v3": {"version": "v2"}, "neg_risk": {"neg_risk": True}}.get(kind, {})
    market = new_market(random.Random(1), "Will it be read?", **facts)
    taker = order(market, 0, side, 600_000 if side == "BUY" else 400_000, 10_000 * M, WALLET)
    pieces = []
    for shares, mint in makers:
        maker_side = side if mint else ("SELL" if side == "BUY" else "BUY")
        maker = order(market, int(mint), maker_side, 500_000, shares, OTHER)
        pieces.append(Piece(maker, shares, shares // 2, shares - shares // 2, mint))
    trade = SimTrade("id", taker, pieces, 0, HASH, 0)
    return Block(5, HASH, HASH, 7 * M, (told.trade(trade),), 3), trade


def order(market, outcome, side, price, shares, wallet):
    usdc = shares * price // M
    amounts = (usdc, shares) if side == "BUY" else (shares, usdc)
    return SimOrder(
        "0x" + "ee" * 32, Account(wallet), "", market, market.tokens[outcome], side, price,
        *amounts, "GTC", shares, 0, 0,
    )  # fmt: skip


def read(block, place=0):
    found = receipt(block, place, block.transactions[place])["logs"]
    return [one for x in found for one in chain.said(msgspec.convert(x, chain.RawLog), KNOWN)]


@given(
    st.sampled_from(("standard", "neg_risk", "v3")),
    st.sampled_from(("BUY", "SELL")),
    st.lists(st.tuples(SIZES, st.booleans()), min_size=1, max_size=6),
)
def test_a_settled_match_is_read_as_it_was(kind, side, makers):
    block, trade = settled(kind=kind, side=side, makers=makers)
    found = read(block)
    *match, taker = [one for one in found if isinstance(one, Filled)]
    assert (taker.role, taker.wallet, taker.shares) == (Role.TAKER, WALLET, trade.shares)
    assert [(f.role, f.shares, f.usdc) for f in match] == [
        (Role.MAKER, piece.shares, piece.maker_usdc) for piece in trade.pieces
    ]
    assert executed(taker, match) == trade.usdc
    # What each wallet got and gave in shares is what its orders say.
    for wallet, token, amount in (
        (WALLET, taker.token, trade.shares if side == "BUY" else -trade.shares),
    ):
        moves = [m for m in found if isinstance(m, Moved) and m.token == token]
        got = sum(m.shares for m in moves if m.taker == wallet)
        assert got - sum(m.shares for m in moves if m.giver == wallet) == amount


def test_without_all_makers_logs_the_takers_own_event_is_taken():
    block, trade = settled(kind="standard", side="BUY", makers=[(M, True), (2 * M, True)])
    first, _, taker = [one for one in read(block) if isinstance(one, Filled)]
    assert taker.usdc > trade.usdc
    assert executed(taker, [first]) == taker.usdc


def moved_in(transaction):
    block = Block(5, HASH, HASH, 7 * M, (transaction,), 3)
    found = receipt(block, 0, transaction)["logs"]
    raws = [msgspec.convert(x, chain.RawLog) for x in found]
    his = [m for m in read(block) if isinstance(m, Moved) and WALLET in (m.giver, m.taker)]
    return raws, his


def test_what_becomes_of_shares_without_an_order_is_told_by_the_whole_transaction():
    account, rng = Account(WALLET), random.Random(1)
    market = new_market(rng, "Standard?")
    siblings = [new_market(rng, f"{i}?", neg_risk=True, event="e") for i in range(3)]
    pair = dict.fromkeys(market.tokens, 5 * M)
    cases = {
        FactKind.SPLIT: told.pairs(HASH, account, market, 5 * M),
        FactKind.MERGE: told.pairs(HASH, account, market, -5 * M),
        FactKind.REDEMPTION: told.redemption(HASH, account, market, pair, 5 * M),
        FactKind.CONVERSION: told.conversion(HASH, account, siblings[:2], siblings[2:], 5 * M),
        FactKind.TRANSFER: told.transfer(HASH, WALLET, OTHER, market, pair),
    }
    for kind, transaction in cases.items():
        raws, his = moved_in(transaction)
        assert his, kind
        ends = {end for m in his for end in (m.giver, m.taker)} - {WALLET}
        assert chain.is_transfer(ends, STATIONS) is (kind is FactKind.TRANSFER)
        if kind is not FactKind.TRANSFER:
            assert chain.movement(raws, came=kind is FactKind.MERGE) is kind
    assert chain.movement([], came=True) is FactKind.SPLIT
    assert chain.movement([], came=False) is FactKind.MERGE
    assert not chain.is_transfer([chain.NOBODY], frozenset())


@needs_shared
def test_recorded_logs_say_what_stands_in_them():
    found = json.loads((SAMPLES / "28_polygon_logs_12_real_2026.json").read_text())
    read = 0
    for sample in found:
        expected, missing = sample["expected"], {"blockHash": HASH, "logIndex": "0x0"}
        words = chain.said(chain.log(json.dumps(missing | sample["log"]).encode()), KNOWN)
        kind = sample["kind"].split(" ")[0]
        if kind == "CTFExchangeV2.OrderFilled":
            (filled,) = words
            assert filled.wallet == expected["maker"]
            assert (filled.role, filled.side) == (expected["role"], expected["side"])
            assert filled.shares == wire.micros(expected["size"], "size")
            assert filled.usdc == wire.micros(expected["usdc"], "usdc")
            assert filled.token == expected["token_id"]
            assert filled.place.block_s == expected["ts"]
        elif kind.startswith("ERC1155"):
            values = [value for value in expected["values"] if value]
            assert [m.shares for m in words] == values
            for name, end in (("from", "giver"), ("to", "taker")):
                if name in expected:
                    assert {getattr(m, end) for m in words} == {expected[name]}
            assert expected.get("token_id", words[0].token) == words[0].token
        elif kind == "CTF.ConditionResolution":
            assert [r.payouts for r in words] == [tuple(expected["numerators"])]
        else:
            assert list(words) == []  # V1, or an event of which only the kind matters
        read += bool(words)
    assert read == 4


@needs_shared
def test_events_of_which_only_the_kind_matters_are_those_recorded():
    found = json.loads((SAMPLES / "28_polygon_logs_12_real_2026.json").read_text())
    names = {s["kind"].split(" ")[0]: s["log"]["topics"][0] for s in found}
    kinds = {
        "CTF.PayoutRedemption": FactKind.REDEMPTION, "CTF.PositionSplit": FactKind.SPLIT,
        "NegRiskAdapter.PayoutRedemption": FactKind.REDEMPTION,
        "CTF.PositionsMerge": FactKind.MERGE,
        "NegRiskAdapter.PositionsConverted": FactKind.CONVERSION,
    }  # fmt: skip
    recorded = {name: kind for name, kind in kinds.items() if name in names}
    assert len(recorded) >= 3
    for name, kind in recorded.items():
        assert chain.movement([raw(topics=[names[name]])], came=False) is kind


def test_the_simulation_shows_logs_as_they_are_read():
    block, _ = settled(kind="standard", side="BUY", makers=[(M, False)])
    log = block.transactions[0].logs[0]
    found = chain.place(msgspec.convert(shown(block, 0, 9, log), chain.RawLog))
    assert found == Place(5, 9, HASH, 7)
    bare = msgspec.convert(
        shown(block, 0, 9, Log(*dataclasses.astuple(log)), bare=True), chain.RawLog
    )
    assert chain.place(bare).block_s is None


def test_of_everybodys_orders_those_are_read_that_may_be_a_leaders():
    def filled(maker, taker, topic0=chain.ORDER_FILLED):
        topics = [topic0, "0x" + "11" * 32, f"0x{maker[2:]:0>64}", f"0x{taker[2:]:0>64}"]
        return chain.RawLog("0xe", topics, "0x", "0x1", "0x" + "22" * 32, "0x3", "0x0")

    leader, other, third = "0x" + "aB" * 20, "0x" + "cd" * 20, "0x" + "ef" * 20
    knows = {leader.lower()}.__contains__
    assert chain.concerns(filled(leader, other), knows)
    assert chain.concerns(filled(other, leader), knows), "who met him tells what he paid"
    assert not chain.concerns(filled(other, third), knows)
    assert chain.concerns(filled(other, third, chain.TRANSFER_SINGLE), knows)
    assert chain.concerns(chain.RawLog("0xe", [], "0x", "0x1", "0x2", "0x3", "0x0"), knows)
