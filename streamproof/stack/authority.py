"""The local authority: the certificates of a home's servers and of whoever may speak with them, in ``HOME/tls``.

It has two certificates of its own, each self-signed. One signs servers and services, the other signs edges, and only
the broker's listener for edges trusts that one: an edge's certificate opens no other door.
"""

import os
import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streamproof.core.certificates import java_keystore, java_truststore, read_certificates, read_key
from streamproof.core.errors import UsageError
from streamproof.core.settings import TlsSettings

SERVICES, EDGES = "services", "edges"
"""The authority's two certificates."""

AUTHORITY_DAYS, DAYS, RENEWED_DAYS = 3650, 397, 30
"""How long the authority's own and the others' certificates hold, and how long before their end they are renewed."""

OPERATOR, OBSERVER, HEALTH = "operator", "observer", "health"
"""Whose rights a command has: all that the toolkit does; looking on; and asking whether a server answers."""

_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
IDENTITIES = {
    "mosquitto": (_SERVER,),
    "kafka": (_SERVER, _CLIENT),
    "nifi": (_SERVER, _CLIENT),
    "flink": (_SERVER, _CLIENT),
    "page": (_SERVER,),
    OPERATOR: (_CLIENT,),
    OBSERVER: (_CLIENT,),
    HEALTH: (_CLIENT,),
}
"""Each identity but those of edges, the common name of its certificate, and what that is for."""

_JAVA = {"nifi", "flink"}
INTERNAL = "flink-internal"
"""The self-signed key by which Flink's processes know each other: it is keystore and truststore at once."""

_LOCALHOST = (
    x509.DNSName("localhost"),
    x509.IPAddress(ip_address("127.0.0.1")),
    x509.IPAddress(ip_address("::1")),
)
_RIGHT = "streamproof:"
_LONGEST_NAME = 64  # characters of a common name (RFC 5280, ub-common-name)


class Edge(NamedTuple):
    """An edge: its name, and the categories that it may send, each ``STREAM/CATEGORY``."""

    name: str
    categories: tuple[str, ...]

    @property
    def streams(self) -> list[str]:
        """The streams that these are of."""
        return sorted({category.partition("/")[0] for category in self.categories})


class Authority:
    """The authority in a folder.

    Args:
        folder: ``HOME/tls``; made with mode 0700, and each file in it with mode 0600.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether there is one already."""
        return (self.folder / f"{SERVICES}.pem").exists()

    def renew(self, edges: Collection[Edge] = ()) -> list[str]:
        """Make the certificates that are missing, that end within 30 days, or whose edge has other categories now.

        Args:
            edges: edges to add, or with other categories than before; all others stay as they are.

        Returns:
            the names of those made.

        Raises:
            UsageError: the authority cannot sign: its key is missing, or others can read it, or it has ended.

        """
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.folder.chmod(0o700)
        services, for_edges = (self._own(name) for name in (SERVICES, EDGES))
        write_secret(self.folder / "ca.pem", _pem(services.certificate) + _pem(for_edges.certificate))
        if not (file := self._password_file).exists():
            write_secret(file, secrets.token_urlsafe(24).encode())
        made = [name for name in IDENTITIES if self._is_due(name, services)]
        for name in made:
            pair = services.sign(name, IDENTITIES[name], _LOCALHOST if _SERVER in IDENTITIES[name] else ())
            self._write(name, pair)
            if name in _JAVA:
                self._write_store(name, pair)
        if made or not (self.folder / "trust.p12").exists():
            write_secret(self.folder / "trust.p12", java_truststore([services.certificate], self.password))
        if _is_due(self.folder / f"{INTERNAL}.pem"):
            pair = _self_signed(INTERNAL, DAYS, signs=False)
            self._write(INTERNAL, pair)
            self._write_store(INTERNAL, pair)
            made.append(INTERNAL)
        wanted = {edge.name: edge for edge in (*self.edges(), *edges)}
        for edge in wanted.values():
            _check(edge)
            if edge not in self.edges() or self._is_due(edge.name, for_edges):
                rights = [x509.UniformResourceIdentifier(_RIGHT + quote(each)) for each in edge.categories]
                self._write(edge.name, for_edges.sign(edge.name, (_CLIENT,), rights))
                made.append(edge.name)
        return made

    def edges(self) -> list[Edge]:
        """Return the edges that have a certificate; the certificate itself says which categories they may send."""
        found = []
        for file in sorted(self.folder.glob("*.pem")):
            if file.stem in {"ca", SERVICES, EDGES, INTERNAL, *IDENTITIES} or file.name.endswith(".keystore.pem"):
                continue
            rights = read_certificates(file)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = rights.get_values_for_type(x509.UniformResourceIdentifier)
            found.append(Edge(file.stem, tuple(unquote(name.removeprefix(_RIGHT)) for name in names)))
        return found

    def identity(self, name: str) -> TlsSettings:
        """Return the settings of an identity."""
        return TlsSettings(**self._files(name))

    def environment(self, name: str) -> dict[str, str]:
        """Return the same as environment variables."""
        return {f"STREAMPROOF_TLS_{setting}".upper(): str(file) for setting, file in self._files(name).items()}

    def _files(self, name: str) -> dict[str, Path]:
        return {
            "ca": self.folder / "ca.pem",
            "cert": self.folder / f"{name}.pem",
            "key": self.folder / f"{name}.key",
        }

    @property
    def password(self) -> str:
        """The password of the stores that Java reads."""
        return self._password_file.read_text(encoding="ascii")

    def fingerprint(self, name: str) -> str:
        """Return the SHA-1 fingerprint of a certificate as Flink writes it: it knows no other digest."""
        digest = read_certificates(self.folder / f"{name}.pem")[0].fingerprint(hashes.SHA1())  # noqa: S303
        return digest.hex(":").upper()

    @property
    def _password_file(self) -> Path:
        return self.folder / "store.password"

    def _own(self, name: str) -> "_Pair":
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        if not certificate.exists():
            pair = _self_signed(name, AUTHORITY_DAYS, signs=True)
            write_secret(key, _key_pem(pair.key))
            write_secret(certificate, _pem(pair.certificate))
            return pair
        (found,) = read_certificates(certificate)
        anew = f"remove the folder {self.folder} to begin anew; every edge then needs its new certificate"
        if found.not_valid_after_utc <= _now():
            raise UsageError(f"{certificate}: the authority ended on {found.not_valid_after_utc:%Y-%m-%d}: {anew}")
        if not key.exists():
            raise UsageError(f"{key}: the authority's key is missing, so it cannot sign: put it back, or {anew}")
        return _Pair(found, read_key(key))

    def _is_due(self, name: str, authority: "_Pair") -> bool:
        file = self.folder / f"{name}.pem"
        # With another key than before, the authority has to sign everything anew.
        return _is_due(file) or read_certificates(file)[0].issuer != authority.certificate.subject

    def _write(self, name: str, pair: "_Pair") -> None:
        write_secret(self.folder / f"{name}.key", _key_pem(pair.key))
        write_secret(self.folder / f"{name}.pem", _pem(pair.certificate))
        if name in {"kafka", "flink"}:  # as Kafka's own clients and servers read it
            write_secret(self.folder / f"{name}.keystore.pem", _key_pem(pair.key) + _pem(pair.certificate))

    def _write_store(self, name: str, pair: "_Pair") -> None:
        write_secret(self.folder / f"{name}.p12", java_keystore(pair.certificate, pair.key, self.password))


class _Pair(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def sign(
        self, name: str, usages: Collection[x509.ObjectIdentifier], names: Collection[x509.GeneralName]
    ) -> "_Pair":
        """Return a new certificate with its key, signed by this one."""
        key = ec.generate_private_key(ec.SECP256R1())
        end = min(_now() + timedelta(days=DAYS), self.certificate.not_valid_after_utc)
        builder = _builder(name, key, end).issuer_name(self.certificate.subject)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return _Pair(builder.add_extension(issuer, critical=False).sign(self.key, hashes.SHA256()), key)


def write_secret(file: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on; a reader sees the old one or the new one."""
    half = file.with_name(f"{file.name}.half")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
    half.replace(file)


def _self_signed(name: str, days: int, *, signs: bool) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    # The name has a number, or a new authority could not be told from an old one.
    common = f"streamproof {name} {secrets.token_hex(4)}" if signs else name
    builder = _builder(common, key, _now() + timedelta(days=days)).issuer_name(_name(common))
    builder = builder.add_extension(x509.BasicConstraints(ca=signs, path_length=0 if signs else None), critical=True)
    if signs:
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName(_LOCALHOST), critical=False)
    return _Pair(builder.sign(key, hashes.SHA256()), key)


def _builder(name: str, key: ec.EllipticCurvePrivateKey, end: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - timedelta(hours=1))  # clocks of other machines
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _is_due(file: Path) -> bool:
    if not file.exists() or not file.with_suffix(".key").exists():
        return True
    return read_certificates(file)[0].not_valid_after_utc <= _now() + timedelta(days=RENEWED_DAYS)


def _check(edge: Edge) -> None:
    name = edge.name
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or len(name) > _LONGEST_NAME:
        raise UsageError(f"an edge cannot be named {name!r}: letters, digits, - and _ only, {_LONGEST_NAME} at most")
    if name in {"ca", SERVICES, EDGES, INTERNAL, *IDENTITIES}:
        raise UsageError(f"an edge cannot be named {name!r}: that is the name of a certificate that is there already")
    for category in edge.categories:
        stream, slash, rest = category.partition("/")
        if not (stream and slash and rest) or set(rest) & set("/+#") or not category.isprintable():
            raise UsageError(f"the edge {name} cannot send {category!r}: write STREAM/CATEGORY, like ratings/Books")


def _now() -> datetime:
    return datetime.now(UTC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
