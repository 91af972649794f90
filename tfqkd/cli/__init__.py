"""The commands: flags in, one call out. Nothing heavy is imported to parse flags."""
