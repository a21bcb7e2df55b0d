"""jetloom: train and compare jet taggers."""

__version__ = "0.2.0"
