"""Where the servers are and where files go: one frozen object a part, from the environment and ``.env``."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_Absolute = Annotated[Path, AfterValidator(Path.absolute)]


def _from(prefix: str) -> SettingsConfigDict:
    return SettingsConfigDict(env_prefix=prefix, env_file=".env", extra="ignore", frozen=True)


class HomeSettings(BaseSettings):
    """Where streamproof keeps its runs, its servers' data and its downloads: in the current folder, if not told."""

    model_config = _from("STREAMPROOF_")

    home: _Absolute = Path(".streamproof")
    cache: _Absolute = Field(default_factory=lambda settings: settings["home"] / "cache")

    @property
    def runs(self) -> Path:
        """The folder that holds a folder for each run."""
        return self.home / "runs"


class MqttSettings(BaseSettings):
    """The MQTT broker. ``nifi_host``/``nifi_port`` are the broker as NiFi sees it, where that differs."""

    model_config = _from("STREAMPROOF_MQTT_")

    host: str = "127.0.0.1"
    port: int = 21883
    nifi_host: str = ""
    nifi_port: int = 0
    username: str = ""
    password: SecretStr = SecretStr("")

    @property
    def address_for_nifi(self) -> str:
        """The broker as ``host:port``, seen from NiFi."""
        return f"{self.nifi_host or self.host}:{self.nifi_port or self.port}"


class KafkaSettings(BaseSettings):
    """The Kafka cluster. ``cluster_servers`` are the brokers as NiFi and Flink see them, where that differs."""

    model_config = _from("STREAMPROOF_KAFKA_")

    servers: str = "127.0.0.1:29092"
    cluster_servers: str = ""
    partitions: int = Field(default=4, ge=1)
    replication: int = Field(default=1, ge=1)

    @property
    def servers_for_cluster(self) -> str:
        """The brokers as ``host:port,…``, seen from NiFi and Flink."""
        return self.cluster_servers or self.servers


class NifiSettings(BaseSettings):
    """NiFi, by the environment names that nipyapi knows."""

    model_config = _from("NIFI_")

    api_endpoint: str = "http://127.0.0.1:28080/nifi-api"
    username: str = ""
    password: SecretStr = SecretStr("")


class FlinkSettings(BaseSettings):
    """Flink's JobManager (its REST address) and where its checkpoints and savepoints go."""

    model_config = _from("STREAMPROOF_FLINK_")

    jobmanager: str = "127.0.0.1:28081"
