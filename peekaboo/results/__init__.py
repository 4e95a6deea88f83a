"""What a finished mask is, its files, its record, and what a fit shows on the way."""
