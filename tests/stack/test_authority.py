"""The local authority: who has a certificate, which files others cannot read, and when a certificate is made anew."""

import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509 import BasicConstraints, ExtendedKeyUsage
from cryptography.x509.oid import ExtendedKeyUsageOID

from streamproof.core.certificates import check_identity, read_certificates
from streamproof.core.errors import UsageError
from streamproof.core.settings import KafkaSettings, TlsSettings
from streamproof.stack import authority
from streamproof.stack.authority import EDGES, IDENTITIES, SERVICES, Authority, Edge

BOOKS = Edge("books", ("ratings/Books", "ratings/Café & Küche"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("home") / "tls")
    assert {*IDENTITIES, BOOKS.name} <= set(made.renew([BOOKS]))
    return made


def _identity(made, name):
    return [made.folder / "ca.pem", made.folder / f"{name}.pem", made.folder / f"{name}.key"]


def _later(monkeypatch, **duration):
    moment = datetime.now(UTC) + timedelta(**duration)
    monkeypatch.setattr(authority, "_now", lambda: moment)


def test_only_the_owner_can_read_what_the_authority_writes(made):
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in made.folder.iterdir()} == {0o600}


def test_each_identity_has_a_certificate_that_holds_for_what_it_does_and_no_longer_than_a_year(made):
    for name in (*IDENTITIES, BOOKS.name):
        check_identity(*_identity(made, name))
        (certificate,) = read_certificates(made.folder / f"{name}.pem")
        usage = set(certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value)
        assert usage == set(IDENTITIES.get(name, (ExtendedKeyUsageOID.CLIENT_AUTH,)))
        assert not certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
        assert certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=398)


def test_an_edge_is_signed_by_an_authority_that_signs_nothing_else(made):
    issuers = {name: read_certificates(made.folder / f"{name}.pem")[0].issuer for name in (*IDENTITIES, BOOKS.name)}
    of_edges, of_services = (read_certificates(made.folder / f"{name}.pem")[0].subject for name in (EDGES, SERVICES))
    assert issuers.pop(BOOKS.name) == of_edges
    assert set(issuers.values()) == {of_services}
    assert made.edges() == [BOOKS]


def test_nothing_is_made_anew_before_its_time_and_all_but_the_authority_30_days_before_its_end(made, monkeypatch):
    assert made.renew() == []
    _later(monkeypatch, days=366)
    assert made.renew() == []
    _later(monkeypatch, days=368)
    before = (made.folder / f"{SERVICES}.pem").read_bytes()
    assert {*IDENTITIES, BOOKS.name, authority.INTERNAL} == set(made.renew())
    assert (made.folder / f"{SERVICES}.pem").read_bytes() == before
    assert made.edges() == [BOOKS]


def test_an_edge_with_other_categories_than_before_gets_a_new_certificate(tmp_path):
    own = Authority(tmp_path / "tls")
    own.renew([BOOKS, Edge("games", ("ratings/Games",))])
    assert own.renew([BOOKS]) == []
    assert own.renew([Edge("books", ("ratings/Books",))]) == ["books"]
    assert [edge.categories for edge in own.edges()] == [("ratings/Books",), ("ratings/Games",)]


@pytest.mark.parametrize("name", ["nifi", "ca", "a/b", "", "x" * 65, "é"])
def test_an_edge_with_a_name_that_cannot_be_used_is_refused(made, name):
    with pytest.raises(UsageError, match="an edge cannot be named"):
        made.renew([Edge(name, ("ratings/Books",))])


@pytest.mark.parametrize("name", [SERVICES, EDGES])
def test_an_authority_without_its_key_is_named_and_so_is_one_whose_key_others_can_read(tmp_path, name):
    own = Authority(tmp_path / "tls")
    own.renew()
    key = own.folder / f"{name}.key"
    key.chmod(0o640)
    with pytest.raises(UsageError, match=rf"{name}.key: others can read this key \(mode 0640\): chmod 600"):
        own.renew()
    key.unlink()
    with pytest.raises(UsageError, match=rf"{name}.key: the authority's key is missing"):
        own.renew()


def test_an_authority_that_has_ended_says_when_and_what_to_do(tmp_path, monkeypatch):
    own = Authority(tmp_path / "tls")
    own.renew()
    _later(monkeypatch, days=3651)
    with pytest.raises(UsageError, match=r"services.pem: the authority ended on \d{4}-.*remove the folder"):
        own.renew()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A home whose operator's settings are in the environment."""
    own = Authority(tmp_path / "tls")
    own.renew()
    for variable, value in own.environment("operator").items():
        monkeypatch.setenv(variable, value)
    return own


def test_a_certificate_and_its_key_are_taken_by_settings_alone(own):
    assert KafkaSettings().client["ssl.key.location"] == str(own.folder / "operator.key")
    assert KafkaSettings().tls.context()


def test_a_key_that_others_can_read_is_refused(own):
    (own.folder / "operator.key").chmod(0o644)
    with pytest.raises(UsageError, match=r"operator.key: others can read this key \(mode 0644\): chmod 600 /"):
        KafkaSettings()


def test_a_missing_file_is_named(own):
    for name in ("operator.key", "operator.pem", "ca.pem"):
        (own.folder / name).unlink()
        with pytest.raises(UsageError, match=rf"{name}: there is no such file"):
            TlsSettings()


def test_a_file_that_is_no_certificate_and_one_that_is_no_key_are_named(own):
    (own.folder / "operator.key").write_text("key")
    with pytest.raises(UsageError, match=r"operator.key: is no private key in PEM form, without a password"):
        TlsSettings()
    (own.folder / "operator.pem").write_text("certificate")
    with pytest.raises(UsageError, match=r"operator.pem: is no certificate in PEM form"):
        TlsSettings()


def test_a_certificate_that_has_ended_says_when(own, monkeypatch):
    _later(monkeypatch, days=-400)
    Authority(own.folder.parent / "old").renew()
    for variable, value in Authority(own.folder.parent / "old").environment("operator").items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=r"operator.pem: this certificate ended on \d{4}-\d\d-\d\d: `streamproof up"):
        TlsSettings()


@pytest.mark.usefixtures("own")
def test_a_certificate_of_another_authority_is_refused(monkeypatch, tmp_path):
    Authority(tmp_path / "other").renew()
    monkeypatch.setenv("STREAMPROOF_TLS_CA", str(tmp_path / "other" / "ca.pem"))
    with pytest.raises(UsageError, match=r"operator.pem: this certificate is of another authority than those in .*ca"):
        TlsSettings()


def test_a_key_of_another_certificate_is_refused(own, monkeypatch):
    monkeypatch.setenv("STREAMPROOF_TLS_KEY", str(own.folder / "observer.key"))
    with pytest.raises(UsageError, match=r"observer.key: this key belongs to another certificate than .*operator.pem"):
        TlsSettings()


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("lacking", ["CA", "CERT", "KEY"])
def test_a_setting_that_is_lacking_is_named(monkeypatch, lacking):
    monkeypatch.setenv(f"STREAMPROOF_TLS_{lacking}", "")
    with pytest.raises(UsageError, match=f"STREAMPROOF_TLS_{lacking} is not set"):
        TlsSettings()
