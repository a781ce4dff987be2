"""An executed notebook as a page: its charts are there without any network."""

import os

import pytest
from checkout import CHECKOUT
from nbconvert import HTMLExporter
from playwright.sync_api import expect
from waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("servers")

PICTURES = CHECKOUT / "docs" / "pictures"


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("executed", "name", "charts", "shown"),
    [
        ("first_run", "notebook-01", 3, 2),
        ("checked", "notebook-02", 2, 1),
        ("explored", "notebook-03", 5, 3),
        ("lateness", "notebook-04", 4, 1),
    ],
)
def test_every_chart_is_drawn_without_a_network(request, browser, tmp_path, executed, name, charts, shown, theme):
    notebook = request.getfixturevalue(executed)
    assert notebook.figures == charts
    page_file = tmp_path / f"{name}.html"
    page_file.write_text(HTMLExporter(theme=theme).from_notebook_node(notebook.notebook)[0])
    context = browser.new_context(offline=True, viewport={"width": 1000, "height": 900})
    page = context.new_page()
    page.goto(page_file.as_uri())
    expect(page.locator(".js-plotly-plot .main-svg .cartesianlayer").first).to_be_visible(timeout=PATIENCE * 1000)
    expect(page.locator(".js-plotly-plot .main-svg .cartesianlayer")).to_have_count(charts)
    if os.environ.get("STREAMPROOF_PICTURES") and theme == "light":
        page.locator(".js-plotly-plot").nth(shown).screenshot(path=PICTURES / f"{name}.png")
    context.close()
