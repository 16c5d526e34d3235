"""The version of lgbench, written once."""

__version__ = "0.1.0"
