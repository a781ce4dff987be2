import importlib
import re
from pathlib import Path

import pytest
from checkout import CHECKOUT
from pydantic import SecretStr

from streamproof.core.settings import Settings, TlsSettings

PACKAGES = ("edge_replayer", "nifi_templates", "flink_jobs", "validation", "streamproof")
PAGE = (CHECKOUT / "docs" / "settings.md").read_text()
ROWS = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| [^|]+ \| ([^|]+) \| .+ \|$", PAGE, re.MULTILINE))


def settings_classes():
    """Yield every settings class of the project, wherever it stands."""
    for package in PACKAGES:
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            if re.search(r"^class \w+\(Settings\)", path.read_text(), re.MULTILINE):
                module = importlib.import_module(".".join(path.relative_to(CHECKOUT).with_suffix("").parts))
                yield from (each for each in vars(module).values() if is_settings(each, module.__name__))


def is_settings(value, module):
    return (
        isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module and value is not Settings
    )


FIELDS = {
    f"{cls.model_config['env_prefix']}{name}".upper(): field
    for cls in settings_classes()
    for name, field in cls.model_fields.items()
    if field.annotation is not TlsSettings  # the same in each: its own settings are on the page
}


def test_the_page_has_all_settings_and_no_others():
    assert set(ROWS) == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_a_settings_default_is_the_one_on_the_page(name):
    value, shown = FIELDS[name].default, ROWS[name]
    if FIELDS[name].default_factory:
        return  # it depends on another setting; the page says in words what it is
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path) and value.is_absolute():
        if not value.is_relative_to(CHECKOUT):
            return  # it depends on the machine; the page says in words what it is
        value = value.relative_to(CHECKOUT)
    literal = re.match(r"`([^`]+)`", shown)
    assert (literal.group(1) if literal else None) == (str(value) if value else None)
