"""Certificates and keys in PEM files: read, and refused with the file's name and what to do."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from streamproof.core.errors import UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_RENEW = "`streamproof up --secured` makes a new one where the servers run"
_READ_BY_OTHERS = 0o077


def read_certificates(file: Path) -> "list[x509.Certificate]":
    """Return the certificates of a file, at least one.

    Raises:
        UsageError: it is missing, cannot be read, or holds none.

    """
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_bytes(file))
    except ValueError:
        raise UsageError(f"{file}: is no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None


def read_key(file: Path) -> "EllipticCurvePrivateKey":
    """Return the private key of a file.

    Raises:
        UsageError: it is missing or cannot be read, others can read it, or it is no key without a password.

    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _bytes(file)
    if (mode := file.stat().st_mode & 0o777) & _READ_BY_OTHERS:
        raise UsageError(f"{file}: others can read this key (mode {mode:04o}): chmod 600 {file}")
    try:
        return load_pem_private_key(content, None)  # type: ignore[return-value] # any kind serves whoever only compares
    except (ValueError, TypeError):
        raise UsageError(f"{file}: is no private key in PEM form, without a password") from None


def check_identity(ca: Path, cert: Path, key: Path) -> None:
    """Check that a certificate can be shown to servers: its time, its authority, and its key.

    Raises:
        UsageError: it cannot; the text names the file and what to do.

    """
    authorities, certificate, private = read_certificates(ca), read_certificates(cert)[0], read_key(key)
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        raise UsageError(f"{cert}: this certificate ended on {certificate.not_valid_after_utc:%Y-%m-%d}: {_RENEW}")
    if certificate.not_valid_before_utc > now:
        raise UsageError(
            f"{cert}: this certificate begins on {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: is the clock "
            "of this machine right?"
        )
    if not any(_has_signed(authority, certificate) for authority in authorities):
        raise UsageError(f"{cert}: this certificate is of another authority than those in {ca}: {_RENEW}")
    if private.public_key() != certificate.public_key():
        raise UsageError(f"{key}: this key belongs to another certificate than {cert}: set both to files of one name")


def java_keystore(certificate: "x509.Certificate", key: "EllipticCurvePrivateKey", password: str) -> bytes:
    """Return a PKCS12 store with a key and its certificate."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
    from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

    return serialize_key_and_certificates(b"own", key, certificate, None, BestAvailableEncryption(password.encode()))


def java_truststore(authorities: "Iterable[x509.Certificate]", password: str) -> bytes:
    """Return a PKCS12 store of authorities, marked as Java wants them: else it sees none."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
    from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore

    named = [PKCS12Certificate(each, f"authority {number}".encode()) for number, each in enumerate(authorities)]
    return serialize_java_truststore(named, BestAvailableEncryption(password.encode()))


def _has_signed(authority: "x509.Certificate", certificate: "x509.Certificate") -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        what = "there is no such file" if isinstance(error, FileNotFoundError) else os.strerror(error.errno or 0)
        raise UsageError(f"{file}: {what}: {_RENEW}") from None
