"""What settings are made of: addresses that are checked, URLs that are safe, exact amounts."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from bot.model.address import wallet
from bot.model.units import MICRO, parse_micros


def _url(*secure: str) -> AfterValidator:
    def check(text: str) -> str:
        url = urlsplit(text)
        loopback = url.hostname in ("127.0.0.1", "localhost", "::1")
        allowed = (*secure, *(s[:-1] for s in secure)) if loopback else secure
        if url.scheme not in allowed or not url.hostname:
            raise ValueError(
                f"expected {secure[0]}://host (plain {secure[0][:-1]}:// on loopback only)"
            )
        return text.rstrip("/")

    return AfterValidator(check)


Address = Annotated[str, AfterValidator(wallet)]
HttpUrl = Annotated[str, _url("https")]
WsUrl = Annotated[str, _url("wss")]


def _micros(at_most: int) -> BeforeValidator:
    def parse(value: object) -> int:
        # Without the field's name: pydantic puts it in front.
        return int(parse_micros(value, field="value", at_most=at_most))

    return BeforeValidator(parse)


#: Decimal numbers in the file, integers in millionths in the program.
Usdc = Annotated[int, _micros(10**13)]
Shares = Annotated[int, _micros(10**12)]
Price = Annotated[int, _micros(MICRO)]
Ratio = Annotated[int, _micros(10 * MICRO)]


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
