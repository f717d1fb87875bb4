"""deputize.store."""
