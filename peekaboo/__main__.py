"""``python -m peekaboo``: the same as the command ``peekaboo``."""

from .command_line.entry import script

if __name__ == "__main__":
    script()
