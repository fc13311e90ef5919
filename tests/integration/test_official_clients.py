"""The official clients, unmodified, use the simulated exchange as they use production."""

import asyncio
import dataclasses
import json

import httpx
import pytest
from polymarket import SecureClient
from polymarket._internal.environment import PRODUCTION_CONFIG, create_environment
from py_clob_client_v2 import (
    ApiCreds,
    AssetType,
    BalanceAllowanceParams,
    ClobClient,
    MarketOrderArgs,
    OpenOrderParams,
    OrderArgs,
    OrderPayload,
    OrderType,
    PartialCreateOrderOptions,
    Side,
)
from py_clob_client_v2.clob_types import RequestArgs
from py_clob_client_v2.headers.headers import create_level_2_headers
from py_clob_client_v2.order_utils.model.order_data_v2 import order_to_json_v2

from bot.sim.plan import Plan
from bot.sim.server import serving
from tests.rig import until

CALM = Plan(failed_share=0, retried_share=0)


def client_of(addresses) -> ClobClient:
    wallet = addresses["wallet"] if addresses["signature_type"] else None
    client = ClobClient(
        host=addresses["clob_url"],
        chain_id=137,
        key=addresses["private_key"],
        signature_type=addresses["signature_type"],
        funder=wallet,
    )
    client.set_api_creds(client.create_or_derive_api_key())
    return client


def token(addresses, kind="standard"):
    return next(m["tokens"][0] for m in addresses["markets"] if m["kind"] == kind)


def options(kind):
    return PartialCreateOrderOptions(version=3) if kind == "v3" else None


def everything(addresses, kind) -> dict:
    client, asset = client_of(addresses), token(addresses, kind)
    book = client.get_order_book(asset)
    resting = client.create_and_post_order(
        OrderArgs(token_id=asset, price=0.4, size=10, side=Side.BUY),
        options(kind),
        order_type=OrderType.GTC,
    )
    matched = client.create_and_post_market_order(
        MarketOrderArgs(
            token_id=asset, amount=10, price=0.6, side=Side.BUY, order_type=OrderType.FAK
        ),
        options(kind),
        order_type=OrderType.FAK,
    )
    found = {
        "book": book,
        "resting": resting,
        "matched": matched,
        "open": client.get_open_orders(OpenOrderParams(asset_id=asset)),
        "trades": client.get_trades(),
        "one": client.get_order(resting["orderID"]),
        "cancelled": client.cancel_order(OrderPayload(orderID=resting["orderID"])),
        "left": client.get_open_orders(),
        "balance": client.get_balance_allowance(
            BalanceAllowanceParams(asset_type=AssetType.COLLATERAL)
        ),
    }
    return found


@pytest.mark.parametrize("kind", ["standard", "neg_risk", "v3"])
@pytest.mark.parametrize("signature_type", [0, 1, 2, 3])
async def test_py_clob_client_v2_trades(signature_type, kind):
    async with serving(dataclasses.replace(CALM, signature_type=signature_type)) as (
        sim,
        addresses,
    ):
        found = await asyncio.to_thread(everything, addresses, kind)
        assert found["resting"]["status"] == "live"
        assert found["matched"]["status"] == "matched"
        assert float(found["matched"]["makingAmount"]) <= 10
        assert (
            [o["id"] for o in found["open"]]
            == [found["resting"]["orderID"]]
            == [found["one"]["id"]]
        )
        assert found["trades"][0]["taker_order_id"] == found["matched"]["orderID"]
        assert found["cancelled"]["canceled"] == [found["resting"]["orderID"]]
        assert found["left"] == []
        assert sim.exchange.outside == [found["resting"]["orderID"], found["matched"]["orderID"]]
        assert int(found["balance"]["balance"]) <= 1_000_000_000
        best = max(
            float(level["price"] if isinstance(level, dict) else level.price)
            for level in levels(found["book"], "bids")
        )
        assert best < 0.6


def levels(book, side):
    return book[side] if isinstance(book, dict) else getattr(book, side)


def refused(client, order, kind=OrderType.FAK, **change) -> tuple[int, str]:
    body = order_to_json_v2(order, client.creds.api_key, kind)
    body["order"].update(change)
    return send(client, body)


def send(client, body, creds=None) -> tuple[int, str]:
    text = json.dumps(body, separators=(",", ":"))
    request = RequestArgs(method="POST", request_path="/order", serialized_body=text)
    headers = create_level_2_headers(client.signer, creds or client.creds, request)
    answer = httpx.post(f"{client.host}/order", content=text, headers=headers, timeout=30)
    return answer.status_code, answer.text


def refusals(addresses) -> dict[str, tuple[int, str]]:
    client, asset = client_of(addresses), token(addresses)
    good = client.create_market_order(
        MarketOrderArgs(
            token_id=asset, amount=10, price=0.6, side=Side.BUY, order_type=OrderType.FAK
        )
    )
    resting = client.create_order(OrderArgs(token_id=asset, price=0.4, size=10, side=Side.BUY))
    flipped = (
        good.signature[:20] + ("0" if good.signature[20] != "0" else "1") + good.signature[21:]
    )
    wrong = ApiCreds(
        client.creds.api_key,
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        client.creds.api_passphrase,
    )
    body = order_to_json_v2(good, client.creds.api_key, OrderType.FAK)
    found = {
        "flipped": refused(client, good, signature=flipped),
        "amount": refused(client, good, makerAmount="11000000"),
        "secret": send(client, body, wrong),
        "owner": send(client, {**body, "owner": "somebody"}),
        "types": refused(client, good, salt="1"),
        "side": refused(client, good, side="HOLD"),
        "stranger": refused(client, good, maker="0x" + "1" * 40),
        "no body": send(client, []),
        "first": refused(client, resting, OrderType.GTC),
        "again": refused(client, resting, OrderType.GTC),
    }

    # Signed orders that break a rule of the market.
    def signed(price, size, side=Side.BUY, kind=OrderType.GTC):
        builder = client.builder
        from py_clob_client_v2.order_utils import (
            ExchangeOrderBuilderV2,
            OrderDataV2,
            SignatureTypeV2,
        )

        making, taking = (round(price * size * 1e6), round(size * 1e6))
        data = OrderDataV2(
            maker=client.get_address(),
            tokenId=asset,
            makerAmount=str(making if side == Side.BUY else taking),
            takerAmount=str(taking if side == Side.BUY else making),
            side=side,
            signatureType=SignatureTypeV2.EOA,
        )
        assert builder
        order = ExchangeOrderBuilderV2(
            "0xE111180000d2663C0091e4f400237545B87B996B", 137, client.signer
        ).build_signed_order(data)
        return refused(client, order, kind)

    found |= {
        "tick": signed(0.405, 10), "small": signed(0.4, 3),
        "dollar": signed(0.6, 1, kind=OrderType.FAK), "poor": signed(0.4, 100_000),
        "no match": signed(0.2, 10, kind=OrderType.FAK), "sell": signed(0.6, 10, side=Side.SELL),
        "accuracy": signed(0.333333, 10.01, kind=OrderType.FAK),
        "fok": signed(0.52, 5000, kind=OrderType.FOK),
    }  # fmt: skip
    return found


async def test_every_refusal_has_its_documented_answer():
    rich = dataclasses.replace(CALM, collateral=10_000_000_000)
    async with serving(rich) as (_, addresses):
        found = await asyncio.to_thread(refusals, addresses)
    expected = {
        "flipped": (400, "invalid signature"), "amount": (400, "invalid signature"),
        "secret": (401, "Invalid api key"), "owner": (400, "has to be the owner of the API KEY"),
        "types": (400, "Invalid order payload"), "side": (400, "Invalid order payload"),
        "stranger": (400, "deposit wallet flow"), "no body": (400, "Invalid order payload"),
        "first": (200, "live"), "again": (400, "is invalid. Duplicated."),
        "tick": (400, "breaks minimum tick size rule: 0.01"),
        "small": (400, "lower than the minimum: 5"), "dollar": (400, "min size: $1"),
        "poor": (400, "the balance is not enough"),
        "no match": (400, "no orders found to match with FAK order"),
        "sell": (400, "the balance is not enough"), "accuracy": (400, "max accuracy of 2 decimals"),
        "fok": (400, "FOK orders are fully filled or killed"),
    }  # fmt: skip
    for name, (status, text) in expected.items():
        assert found[name][0] == status and text in found[name][1], (name, found[name])


async def test_old_and_foreign_domains_are_refused():
    async with serving(CALM) as (_, addresses):

        def post() -> tuple[str, str]:
            from py_clob_client_v2.order_utils import (
                ExchangeOrderBuilderV2,
                OrderDataV2,
                SignatureTypeV2,
            )

            client, asset = client_of(addresses), token(addresses)
            data = OrderDataV2(
                maker=client.get_address(),
                tokenId=asset,
                makerAmount="4000000",
                takerAmount="10000000",
                side=Side.BUY,
                signatureType=SignatureTypeV2.EOA,
            )
            answers = []
            for contract, version in (
                ("0xE111180000d2663C0091e4f400237545B87B996B", "1"),
                ("0xe2222d279d744050d28e00520010520000310F59", "2"),
            ):
                builder = ExchangeOrderBuilderV2(
                    contract, 137, client.signer, domain_version=version
                )
                answers.append(refused(client, builder.build_signed_order(data), OrderType.GTC)[1])
            return tuple(answers)

        old, foreign = await asyncio.to_thread(post)
        assert "order_version_mismatch" in old
        assert "invalid signature" in foreign


async def test_a_wrong_wallet_signature_gets_no_key():
    async with serving(CALM) as (_, addresses):

        def login():
            client = client_of(addresses)
            headers = dict(client.signer and {})
            headers = {
                "POLY_ADDRESS": addresses["wallet"],
                "POLY_SIGNATURE": "0x" + "11" * 65,
                "POLY_TIMESTAMP": "1",
                "POLY_NONCE": "0",
            }
            return httpx.post(f"{addresses['clob_url']}/auth/api-key", headers=headers, timeout=30)

        answer = await asyncio.to_thread(login)
        assert (answer.status_code, answer.json()) == (401, {"error": "Invalid L1 Request headers"})


def environment(addresses):
    url = addresses["clob_url"]
    config = dataclasses.replace(
        PRODUCTION_CONFIG,
        clob_url=url,
        gamma_url=addresses["gamma_url"],
        data_url=addresses["data_url"],
        relayer_url=url,
        rpc_url=url,
        clob_market_ws_url=addresses["market_ws_url"],
        clob_user_ws_url=addresses["user_ws_url"],
        rtds_ws_url=addresses["rtds_url"],
    )
    return create_environment(name="sim", config=config)


async def test_polymarket_client_trades():
    async with serving(CALM) as (sim, addresses):

        def trade():
            asset = token(addresses)
            with SecureClient.create(
                private_key=addresses["private_key"],
                wallet=addresses["wallet"],
                environment=environment(addresses),
            ) as client:
                book = client.get_order_book(token_id=asset)
                resting = client.place_limit_order(
                    token_id=asset, price="0.4", size="10", side="BUY"
                )
                bought = client.place_market_order(
                    token_id=asset, amount="10", side="BUY", max_price="0.6", order_type="FAK"
                )
                trades = list(client.list_account_trades().iter_items())
                orders = list(client.list_open_orders().iter_items())
                cancelled = client.cancel_order(order_id=resting.order_id)
                return book, resting, bought, trades, orders, cancelled

        _, resting, bought, trades, orders, cancelled = await asyncio.to_thread(trade)
        assert sim.exchange.outside == [resting.order_id, bought.order_id]
        assert [t.taker_order_id for t in trades] == [bought.order_id]
        assert [o.id for o in orders] == [resting.order_id]
        assert list(cancelled.canceled) == [resting.order_id]


async def test_polymarket_client_reads_activity():
    async with serving(dataclasses.replace(CALM, gap_ms=5, data_lag_ms=0), start=True) as (
        sim,
        addresses,
    ):
        await until(lambda: sim.finished, "the story ends")

        def read():
            with SecureClient.create(
                private_key=addresses["private_key"],
                wallet=addresses["wallet"],
                environment=environment(addresses),
            ) as client:
                return list(
                    client.list_activity(user=addresses["leaders"][0], page_size=10).iter_items()
                )

        rows = await asyncio.to_thread(read)
        mine = [row for row in sim.facts if row.wallet == addresses["leaders"][0]]
        assert len(rows) == len(mine) > 10
        assert {row.transaction_hash for row in rows} == {row.tx for row in mine}
