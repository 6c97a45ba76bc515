"""Where the server is, as its base URL says, and the proxy on the way there, as the environment says."""

from __future__ import annotations

import os
from typing import Mapping, NamedTuple, Optional
from urllib.parse import unquote, urlsplit


class Proxy(NamedTuple):
    host: str
    port: int
    authorization: str  # value of Proxy-Authorization; empty for none


class Address(NamedTuple):
    url: str  # as a person reads it, without a slash at its end
    host: str
    port: int
    tls: bool
    authority: str  # what the Host header says
    prefix: str  # of every path; empty for none
    proxy: Optional[Proxy]

    @property
    def target_prefix(self) -> str:
        """What comes before a path in a request: of a request through a proxy the whole URL."""
        return self.url if self.proxy and not self.tls else self.prefix


def parse_address(url: str, environment: Mapping[str, str] = os.environ) -> Address:
    """Errors: ValueError for what is no http or https URL of a server."""
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"bad server URL {url!r}: {error}") from None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"bad server URL {url!r}: it must be like http://127.0.0.1:8080")
    if parts.username is not None or parts.query or parts.fragment or not _is_plain(url):
        raise ValueError(f"bad server URL {host!r}: it takes no user, query, fragment, space or control character")
    tls = parts.scheme == "https"
    return Address(
        url=url,
        host=host,
        port=port if port is not None else 443 if tls else 80,
        tls=tls,
        authority=parts.netloc,
        prefix=parts.path,
        proxy=_proxy_for(host, parts.scheme, environment),
    )


def is_loopback(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or host == "::1" or _is_127(host)


def _is_127(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


def _proxy_for(host: str, scheme: str, environment: Mapping[str, str]) -> Optional[Proxy]:
    if is_loopback(host) or _is_exempt(host, _setting("no_proxy", environment)):
        return None
    url = _setting(f"{scheme}_proxy", environment) or _setting("all_proxy", environment)
    if not url:
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"bad proxy in the environment for {scheme}: it must be like http://proxy.example:3128")
    authorization = ""
    if parts.username is not None:
        from base64 import b64encode  # rare, and imported only then

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, parts.port or 80, authorization)


def _setting(name: str, environment: Mapping[str, str]) -> str:
    # A CGI program has the request header "Proxy" as HTTP_PROXY, which whoever sends the request may choose.
    if name == "http_proxy" and "REQUEST_METHOD" in environment:
        return environment.get(name) or ""
    return environment.get(name) or environment.get(name.upper()) or ""


def _is_exempt(host: str, no_proxy: str) -> bool:
    for name in no_proxy.lower().split(","):
        name = name.strip().lstrip(".")
        if name == "*" or (name and (host == name or host.endswith("." + name))):
            return True
    return False
