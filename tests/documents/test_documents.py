"""What the README and the documents say exists: commands, options, make targets, modules, files, links, settings."""

import importlib.util
import re

import pytest
from checkout import CHECKOUT

PAGES = {
    str(path.relative_to(CHECKOUT)): path.read_text() for path in (CHECKOUT / "README.md", *CHECKOUT.glob("docs/*.md"))
}
COMMANDS = dict(part.split("\n", 1) for part in PAGES["docs/commands.md"].split("\n## streamproof ")[1:])
README = PAGES["README.md"]
GROUPS = "flow|question|contract|alert|sink|lake|model"
FOLDERS = (
    "edge_replayer|nifi_templates|flink_jobs|validation|streams|streamproof|notebooks|grafana|kubernetes|tests|docs"
)
FOR_TESTS = "".join(path.read_text() for path in CHECKOUT.glob("tests/**/*.py"))


def code(page):
    """Return what stands in a page's blocks of code and in its `quotes`, a piece a line."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    lines = [line for text in (*blocks, *re.findall(r"^    (.*)$", rest, re.MULTILINE)) for line in text.splitlines()]
    return lines + [" ".join(quoted.split()) for quoted in re.findall(r"`([^`]+)`", rest)]


def commands_in(page):
    """Yield (command, options) for each command line on a page."""
    for line in code(page):
        for name, rest in re.findall(rf"\bstreamproof ((?:(?:{GROUPS}) )?[a-z]+)\b([^|;#`]*)", line):
            yield name, re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_each_command_and_option_that_a_page_uses_exists(name):
    for command, options in commands_in(PAGES[name]):
        assert command in COMMANDS, f"streamproof {command}"
        for option in options:
            assert option == "--help" or option in re.findall(r"--[a-z-]+", COMMANDS[command]), (command, option)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_place_in_the_readme(command):
    assert re.search(rf"(`|streamproof ){command.split()[0]}\b", README)


@pytest.mark.parametrize("name", PAGES)
def test_each_make_target_that_a_page_names_is_in_the_makefile(name):
    makefile = (CHECKOUT / "Makefile").read_text()
    for target in re.findall(r"(?<!streamproof )\bmake ([a-z-]+)", "\n".join(code(PAGES[name]))):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_the_readme_shows_the_two_commands():
    assert {"make demo", "make test"} <= {line.partition("#")[0].strip() for line in code(README)}


@pytest.mark.parametrize("name", PAGES)
def test_each_module_and_file_that_a_page_names_exists(name):
    text = "\n".join(code(PAGES[name]))
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module
    for path in re.findall(rf"(?<![\w./-])((?:{FOLDERS})/[\w./-]*)", text):
        assert (CHECKOUT / path).exists(), path


@pytest.mark.parametrize("name", PAGES)
def test_each_link_leads_to_a_file_and_a_heading(name):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGES[name]):
        file, _, heading = target.partition("#")
        path = ((CHECKOUT / name).parent / file).resolve() if file else CHECKOUT / name
        assert path.exists(), target
        assert not heading or heading in anchors(path.read_text()), target


@pytest.mark.parametrize("name", PAGES)
def test_each_setting_that_a_page_names_is_explained_or_one_of_the_tests(name):
    for setting in set(re.findall(r"\b(?:STREAMPROOF|NIFI)_[A-Z_]*[A-Z]\b", PAGES[name])):
        assert f"| `{setting}` |" in PAGES["docs/settings.md"] or f'"{setting}"' in FOR_TESTS, setting


def test_each_document_is_linked_from_the_readme():
    assert [name for name in PAGES if name != "README.md" and f"]({name})" not in README] == []
