"""deputize.facade."""
