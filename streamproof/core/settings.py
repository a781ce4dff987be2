"""Where the servers are and where files go: one frozen object a part, from the environment and ``.env``."""

from pathlib import Path
from ssl import SSLContext, TLSVersion, create_default_context
from typing import Annotated, Any, Self

from dotenv.parser import parse_stream
from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamproof.core.certificates import check_identity, read_certificates
from streamproof.core.errors import UsageError

_Absolute = Annotated[Path, AfterValidator(Path.absolute)]


SERVERS_FILE = "servers.env"
"""In a home: settings of its servers that differ from the defaults, as ``up`` was told by its options."""

_ENV_FILE = ".env"
_ENCODING = "utf-8-sig"
"""Some editors begin a file with a byte order mark, which else would belong to the first name."""

_EXPECTED = {
    "int_parsing": "a whole number",
    "greater_than_equal": "a whole number, {ge} or more",
    "less_than_equal": "a whole number, {le} or less",
    "string_pattern_mismatch": "host:port, like 127.0.0.1:8081",
}
"""What to say of a value, by pydantic's name for what is wrong with it."""

Port = Annotated[int, Field(ge=1, le=65_535)]
HostPort = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}$")]


def _has_java(home: Path) -> Path:
    if not (home / "bin" / "java").is_file():
        raise ValueError("the home of a Java 21, with bin/java in it; without it the Java from PyPI runs")
    return home


JavaHome = Annotated[Path, AfterValidator(_has_java)]


class Settings(BaseSettings):
    """Settings of one part: each is an environment variable, or a line of ``.env`` in the working directory.

    What neither says is as ``up`` left it in ``SERVERS_FILE`` of the home.

    Raises:
        UsageError: a value cannot be used, or ``.env`` cannot be read; the text names the variable.

    """

    model_config = SettingsConfigDict(env_file=_ENV_FILE, env_file_encoding=_ENCODING, extra="ignore", frozen=True)

    def __init__(self, **values: Any) -> None:
        _check_env_file()
        try:
            super().__init__(**{"_env_file": self._env_files()} | values)
        except ValidationError as error:
            # A default that depends on another setting is not wrong itself.
            problems = [problem for problem in error.errors() if problem["type"] != "default_factory_not_called"]
            raise UsageError("\n".join(map(self._wrong, problems))) from None

    @classmethod
    def _env_files(cls) -> tuple[Path | str, ...]:
        return HomeSettings().home / SERVERS_FILE, _ENV_FILE

    @classmethod
    def _wrong(cls, problem: ErrorDetails) -> str:
        field = str(problem["loc"][0])
        name = f"{cls.model_config.get('env_prefix', '')}{field}".upper()
        expected = _EXPECTED.get(problem["type"], problem["msg"].removeprefix("Value error, ")).format(
            **problem.get("ctx", {})
        )
        is_secret = cls.model_fields[field].annotation is SecretStr
        return f"{name}={'…' if is_secret else problem['input']}: expected {expected}"


def _check_env_file() -> None:
    """Refuse a file in which a setting could get lost: the reader itself skips what it does not understand."""
    file = Path(_ENV_FILE).absolute()
    try:
        if file.is_file():
            with file.open(encoding=_ENCODING) as lines:
                for number, text in ((b.original.line, b.original.string) for b in parse_stream(lines) if b.error):
                    blank = text[: -len(text.lstrip())].count("\n")
                    raise UsageError(f"{file}, line {number + blank}: expected NAME=value")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: is no UTF-8 text ({error.reason}): save it as such") from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None


class HomeSettings(Settings):
    """Where streamproof keeps its runs, its servers' data and its downloads: in the current folder, if not told."""

    model_config = SettingsConfigDict(env_prefix="STREAMPROOF_")

    @classmethod
    def _env_files(cls) -> tuple[Path | str, ...]:
        return (_ENV_FILE,)

    home: _Absolute = Path(".streamproof")
    cache: _Absolute = Field(default_factory=lambda settings: settings["home"] / "cache")

    @property
    def runs(self) -> Path:
        """The folder that holds a folder for each run."""
        return self.home / "runs"


class TlsSettings(Settings):
    """What secures each connection to a server: without ``ca`` all are plain, as on loopback.

    Attributes:
        ca: the authorities that the servers' certificates must be signed by, a PEM file.
        cert, key: the certificate that is shown to the servers, and its key; they say who asks.
        cluster: the folder, as NiFi and Flink see it, that has ``ca.pem``, NiFi's ``nifi.pem`` and ``nifi.key``, and
            ``flink.keystore.pem``, Flink's key and certificate in one; by default that of ``ca``.

    Raises:
        UsageError: a file is missing, is not what it is said to be, has ended, or can be read by others.

    """

    model_config = SettingsConfigDict(env_prefix="STREAMPROOF_TLS_", env_ignore_empty=True)

    ca: _Absolute | None = None
    cert: _Absolute | None = None
    key: _Absolute | None = None
    cluster: _Absolute | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ca and self.cert and self.key:
            check_identity(self.ca, self.cert, self.key)
        elif self.cert or self.key:
            lacking = "CA" if not self.ca else "KEY" if self.cert else "CERT"
            raise UsageError(f"STREAMPROOF_TLS_{lacking} is not set: a certificate, its key and the CA go together")
        elif self.ca:
            read_certificates(self.ca)
        return self

    def context(self) -> SSLContext | None:
        """Return what Python's own clients need; None for plain connections."""
        if self.ca is None:
            return None
        context = create_default_context(cafile=self.ca)
        context.minimum_version = TLSVersion.TLSv1_3
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context

    @property
    def librdkafka(self) -> dict[str, str]:
        """What a client of librdkafka needs, by its own names; nothing for plain connections."""
        if self.ca is None:
            return {}
        own = {"ssl.certificate.location": str(self.cert), "ssl.key.location": str(self.key)} if self.cert else {}
        return {"security.protocol": "ssl", "ssl.ca.location": str(self.ca)} | own

    @property
    def for_cluster(self) -> Path | None:
        """The folder with the certificates of NiFi and Flink, as these see it; None for plain connections."""
        return self.cluster or (self.ca.parent if self.ca else None)

    @property
    def flink_kafka(self) -> dict[str, str]:
        """What Flink's Kafka connector needs, as options of a table; nothing for plain connections."""
        if self.for_cluster is None:
            return {}
        return {
            "properties.security.protocol": "SSL",
            "properties.ssl.truststore.type": "PEM",
            "properties.ssl.truststore.location": str(self.for_cluster / "ca.pem"),
            "properties.ssl.keystore.type": "PEM",
            "properties.ssl.keystore.location": str(self.for_cluster / "flink.keystore.pem"),
        }


def _http(tls: TlsSettings) -> str:
    return "https" if tls.ca else "http"


class MqttSettings(Settings):
    """The MQTT broker. ``nifi_host``/``nifi_port`` are the broker as NiFi sees it, where that differs."""

    model_config = SettingsConfigDict(env_prefix="STREAMPROOF_MQTT_")

    host: str = "127.0.0.1"
    port: Port = 21883
    nifi_host: str = ""
    nifi_port: int = Field(default=0, ge=0, le=65_535)
    username: str = ""
    password: SecretStr = SecretStr("")
    tls: TlsSettings = Field(default_factory=TlsSettings)

    @property
    def address_for_nifi(self) -> str:
        """The broker as ``host:port``, seen from NiFi."""
        return f"{self.nifi_host or self.host}:{self.nifi_port or self.port}"


class KafkaSettings(Settings):
    """The Kafka cluster. ``cluster_servers`` are the brokers as NiFi and Flink see them, where that differs.

    A topic that is made has a replica on each broker that is named, and at most three.
    """

    model_config = SettingsConfigDict(env_prefix="STREAMPROOF_KAFKA_")

    servers: str = "127.0.0.1:29092"
    cluster_servers: str = ""
    partitions: int = Field(default=4, ge=1)
    replication: int = Field(default_factory=lambda settings: min(3, len(_places(settings["servers"]))), ge=1)
    tls: TlsSettings = Field(default_factory=TlsSettings)

    @property
    def client(self) -> dict[str, str | int | float | bool]:
        """What every client of librdkafka begins with: where Kafka is, and who asks."""
        return {"bootstrap.servers": self.servers, "log_level": 0, **self.tls.librdkafka}

    @property
    def brokers(self) -> list[str]:
        """The brokers, each ``host:port``."""
        return _places(self.servers)

    @property
    def servers_for_cluster(self) -> str:
        """The brokers as ``host:port,…``, seen from NiFi and Flink."""
        return self.cluster_servers or self.servers


def _places(servers: str) -> list[str]:
    return [place.strip() for place in servers.split(",") if place.strip()]


class NifiSettings(Settings):
    """NiFi, by the environment names that nipyapi knows; ``api_endpoint`` may name the nodes of a cluster."""

    model_config = SettingsConfigDict(env_prefix="NIFI_")

    tls: TlsSettings = Field(default_factory=TlsSettings)
    api_endpoint: str = Field(default_factory=lambda given: f"{_http(given['tls'])}://127.0.0.1:28080/nifi-api")
    username: str = ""
    password: SecretStr = SecretStr("")

    @property
    def endpoints(self) -> list[str]:
        """The REST interface of each node."""
        return _places(self.api_endpoint)


class FlinkSettings(Settings):
    """Flink's JobManager (its REST address) and where its checkpoints and savepoints go."""

    model_config = SettingsConfigDict(env_prefix="STREAMPROOF_FLINK_")

    jobmanager: HostPort = "127.0.0.1:28081"
    tls: TlsSettings = Field(default_factory=TlsSettings)

    @property
    def url(self) -> str:
        """The address of its REST interface and page."""
        return f"{_http(self.tls)}://{self.jobmanager}"


class PostgresSettings(Settings):
    """PostgreSQL: the server that `up --with postgres` starts, or with a DSN another one.

    Attributes:
        dsn: a connection string, ``postgresql://user:password@host/database`` or ``host=… dbname=…``; empty for the
            server of this home.
        port: where that one listens, on loopback.

    """

    model_config = SettingsConfigDict(env_prefix="STREAMPROOF_POSTGRES_")

    dsn: SecretStr = SecretStr("")
    port: Port = 25432

    @property
    def is_own(self) -> bool:
        """Whether it is the server of this home."""
        return not self.dsn.get_secret_value()

    @property
    def shown(self) -> str:
        """The DSN of this home's server, without its password."""
        return f"postgresql://streamproof@127.0.0.1:{self.port}/streamproof"

    def password_file(self, home: HomeSettings) -> Path:
        """Return the file that has the password of this home's server."""
        return home.home / "postgres" / "password"

    def connection(self, home: HomeSettings) -> SecretStr:
        """Return the DSN that is set, or that of this home's server.

        Raises:
            UsageError: there is neither.

        """
        if not self.is_own:
            return self.dsn
        try:
            password = self.password_file(home).read_text(encoding="ascii")
        except OSError:
            raise UsageError(
                "there is no PostgreSQL: `streamproof up --with postgres` starts one, and STREAMPROOF_POSTGRES_DSN "
                "names one that runs already"
            ) from None
        return SecretStr(self.shown.replace("@", f":{password}@"))
