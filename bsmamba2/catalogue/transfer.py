"""Bytes from an address into a file: resumed, never more than expected, every failure in plain words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.request import getproxies

import httpx

CONNECT_TIMEOUT = 20.0  # s
READ_TIMEOUT = 60.0  # s without a byte
MOST_TRIES = 10  # of one address that breaks off, as long as each brings something


class TransferError(Exception):
    """An address that does not give its file. The message is part of a sentence, without the address."""


class _BrokenOffError(TransferError):
    """The connection ended early; what has come is kept."""


class _NoSuchPartError(TransferError):
    """The server does not go on where we are."""


def new_client() -> httpx.Client:
    """A client that follows redirects and uses the proxies of the environment. Raises TransferError."""
    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    try:
        return httpx.Client(follow_redirects=True, timeout=timeout, headers={"Accept-Encoding": "identity"})
    except (ValueError, httpx.InvalidURL) as error:
        raise TransferError(f"the proxy set in the environment is not usable ({_proxies()}; {error})") from error
    except ImportError as error:  # for SOCKS
        raise TransferError(f"a SOCKS proxy ({_proxies()}) needs a package: pip install 'httpx[socks]'") from error
    except OSError as error:
        wanted = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        raise TransferError(f"certificates cannot be read ({wanted}: {error.strerror or error})") from error


def server_of(address: str) -> str:
    """The server's name in an address."""
    return httpx.URL(address).host


def receive(client: httpx.Client, address: str, part: Path, size: int, progress: Callable[[int, int], None]) -> None:
    """Fill the file `part` up to `size` bytes, from what it has already.

    Raises TransferError, and OSError for the file. A part that is too long, or of a server that sends another length,
    is started again.
    """
    tries = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have > size:
            part.unlink()
            have = 0
        if have == size:
            return
        tries += 1
        try:
            _receive(client, address, part, have, size, progress)
        except _NoSuchPartError:
            part.unlink()
        except _BrokenOffError:
            if part.stat().st_size <= have or tries >= MOST_TRIES:
                raise


def _receive(
    client: httpx.Client, address: str, part: Path, have: int, size: int, progress: Callable[[int, int], None]
) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    start = done = have
    try:
        with client.stream("GET", address, headers=headers) as response:
            start = done = _start(response, have, size)
            with part.open("ab" if done else "wb") as file:
                for block in response.iter_bytes():
                    if done + len(block) > size:
                        file.truncate(0)
                        raise TransferError(f"sends more than the expected {size} bytes")
                    file.write(block)
                    done += len(block)
                    progress(done, size)
    except (httpx.ReadError, httpx.RemoteProtocolError) as error:
        if done > start:
            raise _BrokenOffError(f"broke off after {done} of {size} bytes") from error
        raise TransferError(_in_words(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TransferError(_in_words(error)) from error
    if done < size:  # a server that announces no length just ends
        raise _BrokenOffError(f"broke off after {done} of {size} bytes")


def _start(response: httpx.Response, have: int, size: int) -> int:
    """At which byte of the file this answer starts. Raises TransferError for one that is not of this file."""
    status = response.status_code
    if have and status == 416:
        raise _NoSuchPartError(f"answers {status}")
    if have and status == 206:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("content-range", "").strip())
        if found is None or int(found[1]) != have or found[3] not in ("*", str(size)):
            raise _NoSuchPartError("answers with another part")
        return have
    if status != 200:
        raise TransferError(f"answers {status} ({response.reason_phrase or 'no reason given'})")
    length = response.headers.get("content-length")
    if length is not None and "content-encoding" not in response.headers and length != str(size):
        raise TransferError(f"has a file of {length} bytes, expected {size}")
    return 0


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout):
        return f"cannot be reached: no answer{_through_proxy()}"
    if isinstance(error, httpx.TimeoutException):
        return f"too slow: nothing came for {READ_TIMEOUT:g} s"
    if isinstance(error, httpx.ProxyError):
        return f"the proxy refuses ({_proxies()}; {text})"
    if isinstance(error, httpx.TooManyRedirects):
        return "redirects in a circle"
    if isinstance(error, httpx.ConnectError):
        if re.search(r"Errno (-2|-3|-5|8|11001)\]|[Nn]ame resolution|not known", text):
            return f"its name cannot be resolved: is there a network?{_through_proxy()} ({text})"
        return f"cannot be reached{_through_proxy()} ({text})"
    return f"failed ({text})"


def _proxies() -> str:
    """The proxies of the environment, without user names and passwords."""
    found = {value.rpartition("@")[2] for scheme, value in getproxies().items() if scheme in ("http", "https", "all")}
    return ", ".join(sorted(found))


def _through_proxy() -> str:
    return f" through the proxy {_proxies()}" if _proxies() else ""
