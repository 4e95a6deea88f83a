"""Other ways to a mask, under the same commands and the same metrics."""
