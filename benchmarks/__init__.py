"""Ratios to raw cryptography, to other libraries and to ourselves, measured in one run: `make bench`."""
