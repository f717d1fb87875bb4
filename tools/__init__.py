"""What `make` runs. Not part of any wheel."""
