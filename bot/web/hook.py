"""HTTP for the hook: POST /trades, on loopback unless another address is given."""

import asyncio

import structlog
from aiohttp import web

from bot.detect.hook import MOST_BYTES, Hook, Refused
from bot.errors import ConfigError

logger = structlog.get_logger(__name__)
AT, SIGNATURE = "X-Copybot-Time", "X-Copybot-Signature"


async def serve(hook: Hook, host: str, port: int) -> None:
    """Listen until cancelled. Raises ConfigError where the address cannot be had."""

    async def trades(request: web.Request) -> web.Response:
        at, signature = request.headers.get(AT, ""), request.headers.get(SIGNATURE, "")
        try:
            stored = await hook.take(await request.read(), at, signature)
        except Refused as error:
            # Whoever may not report is told no more than that.
            logger.info("hook.refused", status=error.status, error=str(error))
            return web.json_response({"error": str(error)}, status=error.status)
        return web.json_response({"signals": stored}, status=202)

    app = web.Application(client_max_size=MOST_BYTES)
    app.add_routes([web.post("/trades", trades)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        logger.info("hook.listens", host=host, port=port)
        await asyncio.Event().wait()
    except OSError as error:
        raise ConfigError(
            f"detect.hook_port {port}: {error.strerror or error} on {host}; choose another"
        ) from None
    finally:
        await runner.cleanup()
