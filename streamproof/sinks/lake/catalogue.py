"""The lake's catalogue: which tables there are, and which snapshot of each is the newest."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from streamproof.core.errors import StreamproofError, UsageError
from streamproof.core.settings import HomeSettings, Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

CATALOGUE = "streamproof"
"""The catalogue's name: whoever opens an SQL catalogue must give the same one, as it is a column there."""


class LakeSettings(Settings):
    """Where the lake is.

    Attributes:
        catalog: empty for SQLite in the home; ``postgresql://…``; ``http(s)://…`` of a REST catalogue; or ``glue``.
        warehouse: the folder or the bucket of the tables, like ``s3://bucket/lake``; empty for the home's ``lake``.
        credential: for a REST catalogue, ``KEY:SECRET``.
        s3_endpoint: of an S3 that is not Amazon's, as URL.
        s3_access_key: for S3 and Glue.
        s3_secret_key: likewise.
        s3_region: likewise.
        glue_endpoint: of a Glue that is not Amazon's, as URL.

    """

    model_config = SettingsConfigDict(env_prefix="STREAMPROOF_LAKE_")

    catalog: SecretStr = SecretStr("")
    warehouse: str = ""
    credential: SecretStr = SecretStr("")
    s3_endpoint: str = ""
    s3_access_key: SecretStr = SecretStr("")
    s3_secret_key: SecretStr = SecretStr("")
    s3_region: str = ""
    glue_endpoint: str = ""

    def properties(self, home: HomeSettings) -> dict[str, str]:
        """Return the settings as pyiceberg has them; some are secret.

        Raises:
            UsageError: the catalogue is of no kind that is known.

        """
        where, folder = self.catalog.get_secret_value(), home.home / "lake"
        scheme = where.partition(":")[0]
        if not where:
            folder.mkdir(parents=True, exist_ok=True)
            kind = {"type": "sql", "uri": f"sqlite:///{folder / 'catalogue.db'}"}
        elif scheme in {"postgresql", "postgres"}:
            kind = {"type": "sql", "uri": f"postgresql+psycopg:{where.partition(':')[2]}", "pool_pre_ping": "true"}
        elif scheme == "sqlite":
            kind = {"type": "sql", "uri": where}
        elif scheme in {"http", "https"}:
            kind = {"type": "rest", "uri": where, "credential": self.credential.get_secret_value()}
        elif where == "glue":
            kind = {"type": "glue", "glue.endpoint": self.glue_endpoint}
        else:
            raise UsageError(
                f"STREAMPROOF_LAKE_CATALOG={scheme}…: expected postgresql://…, sqlite:///FILE, https://… of a REST "
                "catalogue, glue, or nothing for SQLite in the home"
            )
        key, secret = self.s3_access_key.get_secret_value(), self.s3_secret_key.get_secret_value()
        of_s3 = {"endpoint": self.s3_endpoint, "access-key-id": key, "secret-access-key": secret}
        both = {"region": self.s3_region, "access-key-id": key, "secret-access-key": secret}
        given = (
            kind
            | {f"s3.{name}": value for name, value in (of_s3 | both).items()}
            | {f"client.{name}": value for name, value in both.items()}
            | {"warehouse": self.warehouse or f"file://{folder}", "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"}
        )
        return {name: value for name, value in given.items() if value}


def open_catalogue(settings: LakeSettings, home: HomeSettings) -> Catalog:
    """Open the catalogue; one in SQLite is made where there is none.

    Raises:
        UsageError: the packages of the lake are not installed, or the setting cannot be used.
        StreamproofError: it does not answer.

    """
    try:
        from pyiceberg.catalog import load_catalog
    except ImportError as error:
        raise UsageError(f"the lake needs more packages ({error.name}): pip install 'streamproof[lake]'") from None
    warnings.filterwarnings("ignore", module="pyiceberg")
    properties = settings.properties(home)
    try:
        return load_catalog(CATALOGUE, **properties)
    except Exception as error:  # each kind of catalogue has errors of its own
        raise StreamproofError(f"{name_of(settings, home)} cannot be opened: {first_line(error)}") from None


def name_of(settings: LakeSettings, home: HomeSettings) -> str:
    """Return what people call the lake; no secret is in it."""
    return f"the lake {settings.warehouse or home.home / 'lake'}"


def first_line(error: BaseException) -> str:
    """Return what an error says, in a line; a password in an address is left out."""
    text = str(error).partition("\n")[0] or type(error).__name__
    return re.sub(r"//[^/@\s]*@", "//…@", text)
