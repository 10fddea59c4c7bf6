import pytest

from links.shortener import Shortener
from links.web import create_app


def test_the_same_address_gets_the_same_name():
    shortener = Shortener()
    name = shortener.shorten("https://example.org/")
    assert shortener.shorten("https://example.org/") == name
    assert shortener.address(name) == "https://example.org/"


def test_only_web_addresses():
    with pytest.raises(ValueError, match="not a web address"):
        Shortener().shorten("ftp://example.org/")


def test_over_http():
    client = create_app().test_client()
    created = client.post("/", data="https://example.org/a")
    assert created.status_code == 201
    followed = client.get("/" + created.text.strip())
    assert followed.location == "https://example.org/a"
    assert client.get("/nothing").status_code == 404
