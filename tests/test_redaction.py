"""No part of any secret is in any message about MLflow."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest

from dgmpipe.jobs.redaction import public_address, redacted

SECRET = "hunter2/q:Z@w?r#t&u=v 9%é"
# What is left of it when something splits it is secret as well.
PARTS = [SECRET, "hunter2", quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET)]
ENCODED = quote(SECRET, safe="")

ADDRESSES = {
    "user and password": f"postgresql://me:{ENCODED}@db1:5432/mlflow",
    "as it is, with every character": f"postgresql://me:{SECRET}@db1:5432/mlflow",
    "a token for a user": f"https://{ENCODED}@mlflow.example.org/path",
    "a user without a password": "postgresql://hunter2@db1/mlflow",
    "password in the query": f"postgresql://db1:5432/mlflow?user=me&password={ENCODED}",
    "password in the query, as it is": f"postgresql://db1/mlflow?password={SECRET}",
    "token in the query": f"https://mlflow.example.org?token={ENCODED}",
    "a query without a name": f"https://mlflow.example.org?{ENCODED}",
    "any name in the query": f"https://mlflow.example.org?sslmode=require&x={ENCODED}",
    "fragment": f"https://mlflow.example.org/#{ENCODED}",
    "query and fragment": f"https://me:hunter2@a/b?c={ENCODED}#hunter2",
    "with a driver": f"postgresql+psycopg2://me:{ENCODED}@db1/mlflow",
    "a database in a file": f"sqlite:///file:x.db?mode=ro&key={ENCODED}",
    "password behind a semicolon": f"https://mlflow.example.org/x;password={ENCODED}",
    "an @ that is encoded": f"https://me%3A{ENCODED}%40mlflow.example.org/x",
    "a database in an encrypted file": f"sqlite+pysqlcipher://:{ENCODED}@/x.db?cipher=aes",
    "no scheme": f"me:{ENCODED}@db1:5432/mlflow",
}


def _assert_hidden(text: str) -> None:
    for part in PARTS:
        assert part not in text
    assert "hunter2" not in text.casefold()


@pytest.fixture(scope="module")
def failure() -> Callable[[Exception], str]:
    """What is said of MLflow's errors, with MLflow's imports."""
    from dgmpipe.tracking.mlflow_copy import failure

    return failure


def _messages(uri: str) -> Iterator[str]:
    for part in PARTS:
        yield part
        yield f"no route to {uri}"
        yield f"HTTPConnectionPool(host='a', port=1): url: /?token={part}/api/2.0 (refused)"
        yield f'FATAL: password authentication failed for "{part}"'
        yield f"could not translate host name {part!r}"
        yield f"value='{part}'"


of_every_address = pytest.mark.parametrize("uri", ADDRESSES.values(), ids=ADDRESSES)


@of_every_address
def test_no_part_of_an_address_but_where_it_is(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _assert_hidden(public_address(uri))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for text in _messages(uri):
        _assert_hidden(redacted(text))


@pytest.mark.slow
@of_every_address
def test_nor_in_what_is_said_of_a_failure(
    uri: str, failure: Callable[[Exception], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for text in _messages(uri):
        _assert_hidden(failure(ConnectionError(text)))


SECRET_VARIABLES = [
    *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME"),
    "MYSQL_PWD",
]


@pytest.mark.parametrize("name", SECRET_VARIABLES)
@pytest.mark.parametrize("part", PARTS)
def test_no_value_of_a_variable(name: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SECRET)
    _assert_hidden(redacted(f"refused: {part}."))


@pytest.mark.slow
@pytest.mark.parametrize("name", SECRET_VARIABLES)
def test_no_value_of_a_variable_in_what_is_said_of_a_failure(
    name: str, failure: Callable[[Exception], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SECRET)
    for part in PARTS:
        _assert_hidden(failure(ConnectionError(f"refused: {part}")))


@pytest.mark.parametrize(
    "text",
    [
        "connection to postgresql://you:hunter2@db2/x failed",
        "url https://example.org/a?token=hunter2 is not there",
        "https://example.org/a#hunter2",
        "dsn: host=db1 user=me password=hunter2 dbname=x",
        "dsn: password='hunter2 hunter2'",
        '{"access_token": "hunter2"}',
        "Authorization: Bearer hunter2",
        "Authorization: Basic hunter2==",
        "api_key=hunter2",
        "X-Api-Key: hunter2",
        "AccountName=me;AccountKey=hunter2;",
        "PRIVATE_KEY='hunter2'",
        "?sv=1&sig=hunter2&se=2",
        "Set-Cookie: hunter2",
        "('password', 'hunter2')",
        "identified with password 'hunter2'",
        "password => hunter2",
        "MLFLOW_TRACKING_TOKEN=hunter2",
    ],
)
def test_no_secret_that_only_the_message_has(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _assert_hidden(redacted(text))


@pytest.mark.slow
def test_no_secret_of_an_error_that_led_to_another(
    failure: Callable[[Exception], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESSES["user and password"])
    try:
        try:
            raise ValueError(f"inner {SECRET}")
        except ValueError as inner:
            raise ConnectionError(f"outer {ENCODED}") from inner
    except ConnectionError as error:
        _assert_hidden(failure(error))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:pa/ss@w:ord@db1:5432/mlflow", "postgresql://db1:5432/mlflow"),
        ("postgresql://db1/mlflow?sslmode=require", "postgresql://db1/mlflow"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////home/a@b/results/mlflow.db", "sqlite:////home/a@b/results/mlflow.db"),
        ("sqlite:///results/mlflow.db", "sqlite:///results/mlflow.db"),
    ],
)
def test_the_rest_can_be_read(
    uri: str, shown: str, failure: Callable[[Exception], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    text = "server requires SSL; attempt to write a readonly database, w to ord"
    expected = text.replace(" w to ord", " *** to ***") if "ord@" in uri else text
    assert failure(ConnectionError(text)) == f"MLflow at {shown} failed ({expected})"
    assert not re.search("pa/ss", shown)
