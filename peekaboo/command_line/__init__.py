"""The command line: entry, parser, configs by name, messages."""
