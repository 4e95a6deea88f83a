"""The command line from the repository: `python cli.py fit|test|predict --config NAME.yaml`; see README.md."""

from peekaboo.command_line.entry import script

if __name__ == "__main__":
    script()
