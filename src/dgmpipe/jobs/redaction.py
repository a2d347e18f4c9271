"""Messages without secrets: what is printed of servers goes through `redacted`."""

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote, unquote_plus

__all__ = ["public_address", "redacted"]

_HIDDEN = "***"
_ADDRESSES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_BACKEND_STORE_URI",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
)
_NAMES = re.compile(
    r"(MLFLOW|AWS|AZURE|GOOGLE|DATABRICKS|PG|MYSQL)\w*"
    r"(PASS|PWD|TOKEN|SECRET|KEY|CREDENTIAL|USERNAME)"
)
# Parts of a query that tell nothing, and whose values (`ro`, `require`) stand in other sentences.
_HARMLESS = {"cache", "charset", "connect_timeout", "driver", "mode", "sslmode", "timeout", "uri"}
# A value so short that words contain it is hidden where it stands alone.
_SHORT = 4
# An address of any kind within a text, up to what cannot be in one.
_WITHIN = re.compile(r"[A-Za-z][\w+.-]*://[^\s\"'<>]*")
_ASSIGNED = re.compile(
    r"\b((?:\w*(?:password|passwd|passphrase|token|secret|credential|signature"
    r"|(?:api|access|account|private)[_-]?key)|pwd|sig|cookie)\w*"
    r"(?:[\"']?\s*(?:=>|[=:])\s*|[\"']?,?\s+(?=[\"'])))(\"[^\"]*\"|'[^']*'|[^\s&;,\"']+)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"\b((?:Basic|Bearer)\s+)[\w.~+/=-]+")


def public_address(uri: str) -> str:
    """Return what an address says of where a server is, without user, password, query, fragment.

    >>> public_address("postgresql://me:pa/ss@w:ord@db1:5432/mlflow?token=abc#d")
    'postgresql://db1:5432/mlflow'
    """
    scheme, rest = _split(uri)
    if _is_path(scheme, rest):
        return scheme + rest.partition("?")[0]
    head, *tail = re.split("[?#;]", rest, maxsplit=1)
    # Of a password with a ? or of the query, there is no telling; nor if the @ itself is encoded.
    if "@" in "".join(tail) or "%40" in head.rpartition("@")[2].partition("/")[0]:
        return scheme + _HIDDEN
    return scheme + head.rpartition("@")[2]


def _is_path(scheme: str, rest: str) -> bool:
    """Return whether an address is of a file, so that only its query may be secret."""
    return scheme.startswith("sqlite") and rest.startswith("/")


def _split(uri: str) -> tuple[str, str]:
    scheme = re.match(r"[A-Za-z][\w+.-]*://", uri)
    return (scheme[0], uri[scheme.end() :]) if scheme else ("", uri)


def redacted(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return a text without any secret of the environment, and without those that addresses have.

    Hidden are the values of variables such as MLFLOW_TRACKING_PASSWORD, and of the addresses in
    MLFLOW_TRACKING_URI and the like user, password, query and fragment, each of their parts, also
    encoded or decoded. Of every address in the text `public_address` is left.
    """
    for uri in sorted(_addresses(environ), key=len, reverse=True):
        text = text.replace(uri, public_address(uri))
    text = _WITHIN.sub(lambda found: public_address(found[0]), text)
    for secret in sorted(_secrets(environ), key=len, reverse=True):
        if len(secret) >= _SHORT:
            text = text.replace(secret, _HIDDEN)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _HIDDEN, text)
    text = _ASSIGNED.sub(rf"\1{_HIDDEN}", text)
    return _HEADER.sub(rf"\1{_HIDDEN}", text)


def _addresses(environ: Mapping[str, str]) -> list[str]:
    return [environ[name] for name in _ADDRESSES if environ.get(name)]


def _secrets(environ: Mapping[str, str]) -> set[str]:
    """Return every secret of the environment in every form, and what a parser may split it into."""
    values = {value for name, value in environ.items() if _NAMES.match(name)}
    for uri in _addresses(environ):
        values.update(_hidden_parts(uri))
    plain = {form for value in values for form in (value, unquote(value), unquote_plus(value))}
    plain.update(piece for value in tuple(plain) for piece in re.split(r"[\s:/@?#&=;]+", value))
    forms = (
        f for s in plain for f in (s, quote(s), quote(s, safe=""), quote_plus(s), repr(s)[1:-1])
    )
    return {form for form in forms if form.strip()}


def _hidden_parts(uri: str) -> Iterator[str]:
    """Yield user and password of an address, and the values of its query and its fragment."""
    scheme, rest = _split(uri)
    path = _is_path(scheme, rest)
    head, *tails = re.split("[?#]" if path else "[?#;]", rest, maxsplit=1)
    tail = "".join(tails)
    if not path:
        # Up to the last @ all may belong to a password with a ? in it.
        user_info = (rest if "@" in tail else head.replace("%40", "@")).rpartition("@")[0]
        yield from (user_info, *user_info.split(":", 1))
    for part in re.split("[&;#?]", tail):
        name, _, value = part.partition("=")
        if name.lower() not in _HARMLESS:
            yield value or name
