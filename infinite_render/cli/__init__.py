"""The commands: each parses, makes one call, prints one line."""
