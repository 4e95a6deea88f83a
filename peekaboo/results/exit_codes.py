"""What the process of a command ends with, beside 0, 1 for a mistake, and 128 + N for signal N."""

SAMPLES_FAILED = 3  # of a `test` or `predict`, or of cells of a study
NOTHING_FOUND = 4  # all masks are empty
