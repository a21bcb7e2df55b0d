"""The page in a real browser: no error, nothing fetched, sorting works, wide and narrow."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from axe_core_python.base import AXE_SCRIPT
from PIL import Image

from tests.support.browser import CHROMIUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (apt-get install chromium)"),
]

# Runs in the page after its own script: clicks through every table and writes what it saw into the document.
PROBE = """
<script>
window.addEventListener("load", () => {
  const column = (table, index) => [...table.tBodies[0].rows].map((row) => row.cells[index].dataset.order ?? null);
  const seen = {tables: {}};
  for (const table of document.querySelectorAll("table.sortable")) {
    seen.tables[table.id] = [...table.tHead.rows[0].cells].map((head, index) => {
      const button = head.querySelector("button");
      button.click();
      const first = [head.getAttribute("aria-sort"), column(table, index)];
      button.click();
      return [first, [head.getAttribute("aria-sort"), column(table, index)]];
    });
  }
  seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  seen.fetched = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
  seen.broken = [...document.images].filter((image) => image.complete && !image.naturalWidth).length;
  seen.unnamed = [...document.querySelectorAll("a, button")].filter((item) => !(item.textContent.trim() || item.ariaLabel)).length;
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "seen"; out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
</script>
"""  # noqa: E501

# Presses every button that copies; a page without a user gets no clipboard, so this stands in its place.
COPY = """
<script>
window.addEventListener("load", async () => {
  const copied = [];
  const give = (clipboard) => Object.defineProperty(navigator, "clipboard", {value: clipboard, configurable: true});
  give({writeText: async (text) => { copied.push(text); }});
  const buttons = [...document.querySelectorAll("button[data-copies]")];
  const seen = {said: [], tables: {}};
  for (const button of buttons) {
    button.click();
    await new Promise((done) => setTimeout(done));
    seen.said.push(button.nextElementSibling.textContent);
    const rows = [...document.getElementById(button.dataset.copies).rows];
    seen.tables[button.dataset.copies] = [rows.map((row) => row.cells.length), rows[1].cells[0].innerText.trim(), copied.pop()];
  }
  give({writeText: async () => { throw new Error("not allowed"); }});
  buttons[0].click();
  await new Promise((done) => setTimeout(done));
  seen.refused = buttons[0].nextElementSibling.textContent;
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "seen"; out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
</script>
"""  # noqa: E501

# Runs axe-core, and goes through everything that the keyboard should reach.
AXE = """
<script>
window.addEventListener("load", async () => {
  const found = await axe.run();
  const seen = {dark: matchMedia("(prefers-color-scheme: dark)").matches, passes: found.passes.map((rule) => rule.id)};
  seen.violations = found.violations.map((rule) => [rule.impact, rule.id, rule.nodes.map((node) => node.html.slice(0, 200))]);
  const stops = [...document.querySelectorAll("a[href], button, summary, [tabindex]")];
  const hidden = (stop) => stop.closest("details:not([open])") && stop.tagName !== "SUMMARY";
  seen.unreachable = stops.filter((stop) => !hidden(stop)).filter((stop) => {
    stop.focus();
    return document.activeElement !== stop || stop.tabIndex !== 0;
  }).map((stop) => stop.outerHTML.slice(0, 200));
  seen.stops = stops.length;
  seen.untouchable = [...document.querySelectorAll(".scroll, pre")].filter(
    (part) => part.scrollWidth > part.clientWidth && part.tabIndex !== 0).length;
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "seen"; out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
</script>
"""  # noqa: E501


def chromium(page: Path, home: Path, width: int, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page without a window; its console goes to stderr."""
    assert CHROMIUM
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
        f"--user-data-dir={home / 'profile'}", f"--window-size={width},1600", "--virtual-time-budget=5000", *flags,
        page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"HOME": str(home)})


def console(process: subprocess.CompletedProcess[str]) -> list[str]:
    """What the page itself said."""
    return [line for line in process.stderr.splitlines() if "CONSOLE" in line]


def probed(page: str, scripts: str, home: Path, width: int, *flags: str) -> dict:
    """What scripts saw in the page that they were added to; the console stays silent."""
    file = home / "probed.html"
    file.write_text(page.replace("</body>", scripts + "</body>"))
    done = chromium(file, home, width, "--dump-dom", *flags)
    assert not console(done)
    found = re.search(r'id="seen">(.*?)</script>', done.stdout, flags=re.S)
    assert found, done.stderr[-2000:]
    return json.loads(found[1])


@pytest.mark.parametrize("width", [1300, 420])
def test_sorting_in_the_browser(made, tmp_path, width):
    seen = probed(made.page, PROBE, tmp_path, width)
    assert seen["fetched"] == []
    assert seen["broken"] == seen["unnamed"] == 0
    assert seen["overflow"] <= 0, "wide tables scroll inside their frame, the page does not"
    assert len(seen["tables"]) == 8
    for columns in seen["tables"].values():
        for first, second in columns:
            assert {first[0], second[0]} == {"ascending", "descending"}
            for direction, values in (first, second):
                known = [value for value in values if value is not None]
                assert values[: len(known)] == known, "what has no value is last"
                try:
                    keys = [float(value) for value in known]
                except ValueError:
                    keys = known
                assert keys == sorted(keys, reverse=direction == "descending")


def test_tables_are_copied_as_spreadsheets_take_them(made, tmp_path):
    seen = probed(made.page, COPY, tmp_path, 1300)
    assert set(seen["said"]) == {"Copied."}
    assert len(seen["tables"]) == 8
    for cells, first, text in seen["tables"].values():
        lines = [line.split("\t") for line in text.split("\n")]
        assert [len(line) for line in lines] == cells
        assert lines[1][0] == " ".join(first.split())
    assert "select the table instead" in seen["refused"]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_everybody_can_use_it(made, tmp_path, scheme):
    """axe-core finds nothing in either colour scheme; the keyboard reaches everything, in the order of the page."""
    number = {"dark": 0, "light": 1}[scheme]
    scripts = f"<script>{AXE_SCRIPT}</script>{AXE}"
    seen = probed(made.page, scripts, tmp_path, 1300, f"--blink-settings=preferredColorScheme={number}")
    assert seen["dark"] == (scheme == "dark")
    assert {"color-contrast", "image-alt", "html-has-lang", "link-name"} <= set(seen["passes"]), "the rules were run"
    assert seen["violations"] == []
    assert seen["stops"] > 50
    assert seen["unreachable"] == []
    assert seen["untouchable"] == 0


@pytest.mark.parametrize("width", [1300, 420])
def test_a_screenshot_shows_the_page(made, tmp_path, width):
    picture = tmp_path / "page.png"
    done = chromium(made.output / "index.html", tmp_path, width, f"--screenshot={picture}")
    assert not console(done)
    with Image.open(picture) as image:
        assert image.width == width
        assert len(image.convert("RGB").getcolors(1 << 24)) > 20, "not an empty page"
