"""The `enrich` command and the client that its subcommands use."""
