"""Tables as data (:mod:`cells`), what is in them (:mod:`summary`, :mod:`papers`), and how they are written."""

from jetloom.report.tables.cells import Cell, Table, figure_cell, mlflow_link, rejection_cell
from jetloom.report.tables.papers import paper_table
from jetloom.report.tables.summary import csv_of_dataset, csv_of_runs, overview, rejections, runs

__all__ = [
    "Cell", "Table", "csv_of_dataset", "csv_of_runs", "figure_cell", "mlflow_link", "overview", "paper_table",
    "rejection_cell", "rejections", "runs",
]  # fmt: skip
