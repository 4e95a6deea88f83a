"""Runs over data sets: `test` makes tables, `predict` makes masks, and both go on where they were killed."""

from .callback import Evaluation

__all__ = ["Evaluation"]
