"""The page behind TLS and a token: whoever opens it must have seen what the command printed."""

import hmac
import secrets
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext, TLSVersion
from typing import TYPE_CHECKING

from streamproof.core.certificates import check_identity
from streamproof.core.settings import TlsSettings

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.serving import BaseWSGIServer
    from werkzeug.wrappers import Response

_COOKIE, _PARAMETER = "streamproof", "token"


def page_context(tls: TlsSettings) -> SSLContext | None:
    """Return what the page's server shows, ``page.pem`` beside the authorities' file; None where nothing is secured.

    Raises:
        UsageError: it is missing, has ended, or its key can be read by others.

    """
    if tls.ca is None:
        return None
    certificate, key = (Path(tls.ca).with_name(name) for name in ("page.pem", "page.key"))
    check_identity(tls.ca, certificate, key)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.minimum_version = TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    return context


def speak_tls(server: "BaseWSGIServer", context: SSLContext) -> None:
    """Let a server speak TLS alone; each connection shakes hands in its own thread, so none holds up the others."""
    server.ssl_context = context
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


def ask_for_token(app: "Flask") -> str:
    """Let in only who brings the token that this returns, once by the address; a cookie lets the same browser in again.

    The token is new with each start, and is neither logged nor in any page.
    """
    from flask import redirect, request
    from werkzeug.wrappers import Response

    token, cookie = secrets.token_urlsafe(24), secrets.token_urlsafe(24)

    @app.before_request
    def check() -> "Response | None":
        if hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), cookie.encode()):
            return None
        if not hmac.compare_digest(request.args.get(_PARAMETER, "").encode(), token.encode()):
            return Response("Open the address that `streamproof dashboard` printed: it has a token.\n", 403)
        # Away from the address at once: it would stay in the browser's history, and go to others as referrer.
        entered = redirect(request.path)
        entered.set_cookie(_COOKIE, cookie, secure=True, httponly=True, samesite="Strict")
        return entered

    return token
