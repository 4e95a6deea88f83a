"""Checks for parts of your own: does an alpha, a guide, a loss or a background keep its contract?"""

from .check import check

__all__ = ["check"]
