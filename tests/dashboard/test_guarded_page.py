"""The page of a secured stack: TLS, and a token that only its command's output has."""

import socket
import ssl
import threading

import httpx
import pytest
from flask import Flask
from werkzeug.serving import make_server

from streamproof.core.errors import UsageError
from streamproof.core.settings import TlsSettings
from streamproof.dashboard.guarded_page import ask_for_token, page_context, speak_tls
from streamproof.stack.authority import Authority


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("page") / "tls")
    authority.renew()
    return authority.identity("operator")


@pytest.fixture(scope="module")
def page(tls):
    """The address of a page, its token, and a client that trusts its certificate."""
    app = Flask("page")
    app.add_url_rule("/", view_func=lambda: "the page")
    token = ask_for_token(app)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    speak_tls(server, page_context(tls))
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield f"https://127.0.0.1:{server.port}/", token, tls
    server.shutdown()
    serving.join()
    server.server_close()


def _client(tls):
    return httpx.Client(verify=tls.context(), trust_env=False, timeout=60)


def test_who_has_no_token_or_another_one_sees_nothing(page):
    address, token, tls = page
    with _client(tls) as client:
        for answer in (client.get(address), client.get(address, params={"token": token[:-1]})):
            assert answer.status_code == 403
            assert "the page" not in answer.text


def test_the_token_opens_the_page_once_and_then_a_cookie_does_that_no_script_and_no_other_site_gets(page):
    address, token, tls = page
    with _client(tls) as client:
        entered = client.get(address, params={"token": token})
        assert (entered.status_code, entered.headers["location"]) == (302, "/")
        assert {"Secure", "HttpOnly", "SameSite=Strict"} <= set(entered.headers["set-cookie"].split("; "))
        assert token not in entered.headers["set-cookie"]
        assert client.get(address).text == "the page"


def test_plain_http_gets_no_answer(page):
    address, _, _ = page
    with pytest.raises(httpx.HTTPError):
        httpx.get(address.replace("https", "http"), trust_env=False, timeout=60)


def test_an_older_tls_is_refused(page):
    address, _, tls = page
    context = tls.context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, verify=context, trust_env=False, timeout=60)


def test_a_connection_that_says_nothing_holds_up_nobody(page):
    address, _, tls = page
    with socket.create_connection(("127.0.0.1", httpx.URL(address).port)), _client(tls) as client:
        assert client.get(address).status_code == 403


def test_without_its_own_certificate_there_is_no_page(tls):
    assert page_context(TlsSettings()) is None
    tls.ca.with_name("page.pem").unlink()
    with pytest.raises(UsageError, match=r"page.pem: there is no such file"):
        page_context(tls)
