"""The command line: `python cli.py fit|test|predict --config NAME.yaml`; see README.md."""

import sys
from pathlib import Path

from peekaboo.command_line.entry import script

sys.path.insert(0, str(Path.cwd()))  # so that YAML can name classes in a file of the user's own

if __name__ == "__main__":
    script()
