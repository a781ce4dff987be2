"""The proxy forwards, cuts, holds and lets through again."""

import socket
import socketserver
import threading

import pytest

from streamproof.drills.proxy import Proxy


@pytest.fixture
def echo():
    """The port of a server that sends back what it gets."""

    class Echo(socketserver.BaseRequestHandler):
        def handle(self):
            while data := self.request.recv(1000):
                self.request.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def proxy(echo):
    with Proxy("127.0.0.1", echo) as proxy:
        yield proxy


def connect(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def answers(connection):
    try:
        connection.sendall(b"x")
        return connection.recv(1) == b"x"
    except ConnectionError:
        return False


def test_it_forwards_in_both_directions(proxy):
    with connect(proxy) as connection:
        assert answers(connection)


def test_a_cut_breaks_connections_and_lets_new_ones_through(proxy):
    with connect(proxy) as old:
        assert answers(old)
        proxy.cut()
        assert not answers(old)
        with connect(proxy) as new:
            assert answers(new)


def test_held_it_lets_none_through_until_it_is_released(proxy):
    with connect(proxy) as old:
        assert answers(old)
        proxy.hold()
        assert not answers(old)
    with connect(proxy) as refused:
        assert not answers(refused)
    proxy.release()
    with connect(proxy) as new:
        assert answers(new)


def test_a_target_that_is_away_breaks_the_connection():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with Proxy("127.0.0.1", nobody.getsockname()[1]) as proxy, connect(proxy) as connection:
            assert not answers(connection)
