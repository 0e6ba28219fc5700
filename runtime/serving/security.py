"""Who may ask: the name the server is called by, the page that asks, the token. And what a browser may do here."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.serving.metrics import Counts

COOKIE = "bsm_serve"
SHORTEST_TOKEN = 16  # characters
OPEN = ("/", "/health", "/api/login")  # paths that need no token; those below /page/, too
LOCAL_NAMES = ("localhost",)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens at `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() in LOCAL_NAMES


class Names:
    """The names in a request's Host that are this server's.

    A page elsewhere can give its own name this machine's address and then read what this server says (DNS rebinding).
    A name that is known prevents that; an address in numbers is no name that anybody could give away.
    """

    def __init__(self, host: str, names: list[str]) -> None:
        """It listens at `host`, and is called by `names`, too, such as those of a proxy."""
        self._local = is_loopback(host)
        self._names = {*LOCAL_NAMES, *(name.lower() for name in names)}

    def allow(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname if host else None
        if name is None or "@" in host or "/" in host:
            return False
        try:
            return ipaddress.ip_address(name).is_loopback or not self._local
        except ValueError:
            return name in self._names


class Token:
    """The secret that clients show: as it is in a header, or as a cookie made of it."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self.cookie = hmac.new(self._token, b"bsm-serve cookie", hashlib.sha256).hexdigest()

    def is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token)

    def shown_by(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self.is_right(given.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.cookie.encode())


class Guard:
    """Lets through to `app` what may ask, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, names: Names, token: Token | None, counts: Counts) -> None:
        self.app, self.names, self.token, self.counts = app, names, token, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                self.counts.requests[scope["method"], message["status"]] += 1
            await send(message)

        refused = self._refuses(scope)
        await (refused or self.app)(scope, receive, with_headers)

    def _refuses(self, scope: Scope) -> JSONResponse | None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self.names.allow(host):
            return answer(421, "this server is not known by that name: see --name of bsm-serve")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return answer(403, "requests from pages of other servers are refused")
        if scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site", "same-origin") not in (
            "same-origin",
            "none",
        ):
            return answer(403, "requests from pages of other servers are refused")
        needs = self.token is not None and path not in OPEN and not path.startswith("/page/")
        if needs and self.token is not None and not self.token.shown_by(headers):
            return answer(401, "the token is missing or wrong", {"www-authenticate": "Bearer"})
        return None


def answer(status: int, error: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as every route tells it."""
    return JSONResponse({"error": error}, status, headers)
