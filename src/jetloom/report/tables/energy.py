"""The table of energies: operations and memory of one jet, priced for a chip."""

from typing import Any

from jetloom.drawing.cells import Cell, Records, Table, changed_footnote, made, model_cell
from jetloom.drawing.numbers import scaled, significant
from jetloom.report.shows import show_of
from jetloom.results.collection import DataSet
from jetloom.results.energy import BITS, TECHNOLOGIES, Technology, energy_of

MICRO = 1e-6
"""pJ in microjoules."""
NOTE = (
    "A floor, not a measurement: matrix products alone, each operand read once and each result written once in 8 kB of "
    "static RAM on the chip, multiplications at the width of the format, sums in 32 bits. Prices in pJ: {prices}. "
    "Sources. 45 nm: Horowitz, ISSCC 2014 (float16 in place of bf16), with memory; 7 nm: arXiv:2112.00133, table 1, "
    "as in the cost model of arXiv:2512.17011, arithmetic alone."
)


def energies(dataset: DataSet) -> Table | None:
    """One row for each model whose multiply-adds and moved numbers were counted; None: none were."""
    entries = [entry for entry in show_of(dataset.task.name).ranked(dataset) if entry.cost and "moved" in entry.cost]
    if not entries:
        return None
    particles = f"{entries[0].costs['flops_particles']} {dataset.words.particles}"
    forms = [(technology, form) for technology in TECHNOLOGIES for form in BITS]
    columns = [
        Cell(show_of(dataset.task.name).model.capitalize()),
        Cell(f"Multiply-adds ({particles})", hint=entries[0].costs["flop_counter"]),
        Cell("Numbers moved", hint="operands and results of these products"),
        *(Cell(f"{form}, {technology.name} [µJ]") for technology, form in forms),
    ]
    rows, numbers = [], []
    for entry in entries:
        cost = entry.costs
        prices = [energy_of(cost, form, technology) for technology, form in forms]
        whole = [price.arithmetic if price.memory is None else price.arithmetic + price.memory for price in prices]
        hints = [
            "arithmetic alone" if price.memory is None else f"of it memory: {price.memory / total:.0%}"
            for price, total in zip(prices, whole, strict=True)
        ]
        rows.append((entry.model, [
            model_cell(entry),
            Cell(scaled(cost["macs"]), cost["macs"], f"{cost['macs']:,}"),
            Cell(scaled(cost["moved"]), cost["moved"], f"{cost['moved']:,}"),
            *(Cell(significant(MICRO * total), total, hint) for total, hint in zip(whole, hints, strict=True)),
        ]))  # fmt: skip
        row: list[Any] = [entry.model, *made([cost["macs"], cost["moved"], *whole], "costs")]
        numbers.append(row)
    names = [f"pj_{form}_{technology.name.replace(' ', '')}" for technology, form in forms]
    records = Records(["model", "macs", "moved", *names], numbers, [entry.results for entry in entries])
    note = NOTE.format(prices="; ".join(map(_prices, TECHNOLOGIES)))
    return Table(f"Energy of one {dataset.words.thing}", note, columns, rows, changed_footnote(entries), records)


def _prices(technology: Technology) -> str:
    products = ", ".join(
        f"{form} {technology.multiply[form]:g} + {technology.accumulate[form]:g}" for form in technology.multiply
    )
    memory = "" if technology.sram_byte is None else f", a byte moved {technology.sram_byte:g}"
    return f"{technology.name}: {products}{memory}"
