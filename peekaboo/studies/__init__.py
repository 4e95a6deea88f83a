"""Studies: a base config, a grid of overrides and a data set as one command; see docs/studies.md."""
