"""The subcommands of `camss-ros`; each imports what it needs when it runs."""
