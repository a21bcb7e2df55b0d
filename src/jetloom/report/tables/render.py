"""A table as HTML, LaTeX, CSV and Markdown."""

import csv
import io
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jetloom.drawing.cells import Cell, Table
from jetloom.drawing.names import CLASSES
from jetloom.drawing.style import Look

TEMPLATES = Path(str(files("jetloom.report") / "templates"))
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_SYMBOLS = {
    "−": "$-$", "±": r"$\pm$", "∞": r"$\infty$", "σ": r"$\sigma$", "ε": r"$\epsilon$", "≤": r"$\leq$", "≥": r"$\geq$",
    "→": r"$\to$", "†": r"$\dagger$", "‡": r"$\ddagger$", "·": r"$\cdot$", "–": "--", "“": "``", "”": "''",
    "×": r"$\times$", "\u00a0": "~", "\u2011": "-", "′": "$'$", "η": r"$\eta$", "Δ": r"$\Delta$",
}  # fmt: skip


def environment() -> Environment:
    """Templates of the page and of single tables."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def html(table: Table, looks: Mapping[str, Look]) -> str:
    """A page with this table alone, which sorts and copies without network."""
    return environment().get_template("table_page.html").render(
        table=table,
        looks=looks,
        fold=None,
        # Our own files, no input: nothing in them to escape.
        css=Markup((TEMPLATES / "page.css").read_text()),
        js=Markup((TEMPLATES / "page.js").read_text()),
    )  # fmt: skip


def csv_text(table: Table) -> str:
    """The numbers unrounded, or where a table has no such record, what its cells say."""
    if table.records:
        columns, rows = table.records.columns, table.records.values
    else:
        columns = [cell.text for cell in table.columns]
        rows = [[_plain(cell) for cell in cells] for _, cells in table.rows]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def markdown(table: Table) -> str:
    """A table of GitHub's Markdown, with its notes."""
    lines = [f"**{_escaped(table.title)}**", ""]
    lines.append("| " + " | ".join(_escaped(cell.text) for cell in table.columns) + " |")
    lines.append("|" + " --- |" * len(table.columns))
    lines += ["| " + " | ".join(_markdown_cell(cell) for cell in cells) + " |" for _, cells in table.rows]
    lines += [""] + [_escaped(table.note)] * bool(table.note)
    lines += [f"\n{_escaped(mark)} {_escaped(words)}" for mark, words in table.footnotes]
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """A ``table*`` with booktabs rules, for a document that loads ``booktabs``.

    Lines of the same tagger stand together: its name is written once, with space after the last of them.
    """
    alignment = "l" + "r" * (len(table.columns) - 1)
    lines = [
        r"\begin{table*}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_tex(table.title)}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        " & ".join(_tex(cell.text) for cell in table.columns) + r" \\",
        r"\midrule",
    ]
    before = None
    for _, cells in table.rows:
        again = cells[0].text == before
        if before is not None and not again and _grouped(table):
            lines.append(r"\addlinespace")
        first = "" if again else _tex_cell(cells[0])
        lines.append(" & ".join([first, *(_tex_cell(cell) for cell in cells[1:])]) + r" \\")
        before = cells[0].text
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [_tex(table.note)] * bool(table.note)
    notes += [f"{_tex(mark)}~{_tex(words)}" for mark, words in table.footnotes]
    if notes:
        lines.append(
            r"\par\medskip\begin{minipage}{\textwidth}\footnotesize " + r"\par ".join(notes) + r"\end{minipage}"
        )
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def write(table: Table, path: Path, looks: Mapping[str, Look]) -> None:
    """Write ``path`` with each of the suffixes .html, .tex, .csv and .md."""
    contents = {".html": html(table, looks), ".tex": latex(table), ".csv": csv_text(table), ".md": markdown(table)}
    for suffix, text in contents.items():
        # A dot in the name of a data set is no suffix.
        path.with_name(path.name + suffix).write_text(text, encoding="utf-8")


def _plain(cell: Cell) -> str:
    text = " ± ".join([cell.text, *cell.uncertainties])
    return f"{text} {cell.above} {cell.below}".strip() if cell.above else text


def _grouped(table: Table) -> bool:
    names = [cells[0].text for _, cells in table.rows]
    return len(set(names)) < len(names)


def _escaped(text: str) -> str:
    for character in ("\\", "|", "*", "_", "<"):
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


def _markdown_cell(cell: Cell) -> str:
    if cell.links:
        return ", ".join(f"[{_escaped(text)}]({address})" for text, address in cell.links)
    text = _escaped(_plain(cell)) + _escaped(cell.mark)
    text = f"[{text}]({cell.link})" if cell.link else text
    return f"**{text}**" if cell.best else text


def _tex_cell(cell: Cell) -> str:
    mark = f"$^{{{_SYMBOLS.get(cell.mark, cell.mark).strip('$')}}}$" if cell.mark else ""
    if cell.above:
        sides = "".join(f"{sign}{{{_math(side)}}}" for sign, side in (("_", cell.below), ("^", cell.above)))
        return f"${_math(cell.text)}{sides}${mark}"
    text = r" $\pm$ ".join(_tex(item) for item in (cell.text, *cell.uncertainties))
    return (rf"\textbf{{{text}}}" if cell.best else text) + mark


def _math(text: str) -> str:
    return text.replace("−", "-").replace("∞", r"\infty").replace(",", "{,}")


def _tex(text: str) -> str:
    """Plain text for LaTeX; names of classes as mathematics."""
    # Longest first, so that no name is found inside another one.
    for mathematics, plain in sorted(CLASSES.values(), key=lambda pair: -len(pair[1])):
        if plain != mathematics and plain in text:
            return mathematics.join(_tex(part) for part in text.split(plain))
    return "".join(_SPECIAL.get(character) or _SYMBOLS.get(character) or character for character in text)
