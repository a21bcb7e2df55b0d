"""jetloom: train and compare jet taggers."""

__version__ = "0.1.0"
