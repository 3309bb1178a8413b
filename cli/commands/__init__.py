"""One module per group of `enrich` subcommands."""
