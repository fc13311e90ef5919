"""Settings: where the exchange and its chain are, and which contracts are believed."""

from typing import Literal

from pydantic import Field

from bot.config.types import Address, HttpUrl, Section, WsUrl


class Contracts(Section):
    """Exchange contracts that orders are signed for, by kind of market."""

    standard: Address = Field(
        "0xE111180000d2663C0091e4f400237545B87B996B", description="exchange of standard markets"
    )
    neg_risk: Address = Field(
        "0xe2222d279d744050d28e00520010520000310F59", description="exchange of neg-risk markets"
    )
    v3: Address = Field(
        "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa", description="exchange of V3 markets"
    )


#: Polygon 137, and Amoy 80002 where only the V3 exchange differs.
CONTRACTS = {
    137: Contracts(),
    80002: Contracts.model_construct(v3="0x9fE6e61422AdB6F610d8597F9684b16912D50C3D"),
}


class VenueSettings(Section):
    """Where the exchange is. Plain http and ws are accepted on loopback only."""

    clob_url: HttpUrl = Field("https://clob.polymarket.com", description="CLOB REST")
    market_ws_url: WsUrl = Field(
        "wss://ws-subscriptions-clob.polymarket.com/ws/market", description="CLOB market channel"
    )
    user_ws_url: WsUrl = Field(
        "wss://ws-subscriptions-clob.polymarket.com/ws/user", description="CLOB user channel"
    )
    data_url: HttpUrl = Field(
        "https://data-api.polymarket.com", description="Data API (paths start with /v2)"
    )
    gamma_url: HttpUrl = Field(
        "https://gamma-api.polymarket.com", description="Gamma market catalogue"
    )
    rtds_url: WsUrl = Field(
        "wss://ws-live-data.polymarket.com", description="real-time data stream"
    )
    rpc_urls: tuple[HttpUrl, ...] = Field(
        ("https://polygon.drpc.org",),
        min_length=1,
        max_length=4,
        description="Polygon JSON-RPC; of two providers one may leave out what it likes",
    )
    rpc_ws_urls: tuple[WsUrl, ...] = Field(
        (), max_length=4, description="their websockets: logs are then heard as they come"
    )
    chain_id: Literal[137, 80002] = Field(137, description="137 Polygon, 80002 Amoy")
    contracts: Contracts | None = Field(
        None, description="exchange contracts; default: those of chain_id"
    )

    other_exchanges: tuple[Address, ...] = Field(
        ("0xe2222d002000ba0053cef3375333610f64600036",),
        max_length=16,
        description="exchange contracts whose fills are believed, and for which nothing is signed",
    )

    @property
    def exchanges(self) -> Contracts:
        """Return the exchange contracts of this chain, or those set in the configuration."""
        return self.contracts or CONTRACTS[self.chain_id]
