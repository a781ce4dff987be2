"""Java's stores, with which Flink's own client speaks with a secured JobManager while it submits a job."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamproof.core.certificates import java_keystore, java_truststore, read_certificates, read_key
from streamproof.core.settings import FlinkSettings


@contextmanager
def rest_stores(flink: FlinkSettings) -> Iterator[dict[str, str]]:
    """Write the stores into a folder that only this user can read; give the client's settings, none for plain HTTP."""
    tls = flink.tls
    if tls.ca is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="streamproof-rest-") as name:
        folder, password = Path(name), secrets.token_urlsafe(24)
        settings = {"enabled": "true", "truststore": f"{folder}/trust.p12", "truststore-password": password}
        settings["truststore-type"] = "PKCS12"
        (folder / "trust.p12").write_bytes(java_truststore(read_certificates(tls.ca), password))
        if tls.cert and tls.key:
            (certificate, *_), key = read_certificates(tls.cert), read_key(tls.key)
            (folder / "own.p12").write_bytes(java_keystore(certificate, key, password))
            settings |= {
                "authentication-enabled": "true",
                "keystore": f"{folder}/own.p12",
                "keystore-type": "PKCS12",
                "keystore-password": password,
                "key-password": password,
            }
        yield {
            "security.ssl.protocol": "TLSv1.3",
            "security.ssl.algorithms": "TLS_AES_256_GCM_SHA384,TLS_AES_128_GCM_SHA256",
            **{f"security.ssl.rest.{name}": value for name, value in settings.items()},
        }
