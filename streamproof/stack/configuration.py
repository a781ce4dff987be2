"""Configuration files of the servers, rendered from the templates in ``conf/``."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("conf")),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - these are configuration files, not pages; the values are this machine's settings
)


def render(template: str, target: Path, **values: object) -> Path:
    """Write a template of ``conf/`` with its values to ``target``, readable by its owner only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    target.write_text(_TEMPLATES.get_template(template).render(values), encoding="utf-8")
    return target
