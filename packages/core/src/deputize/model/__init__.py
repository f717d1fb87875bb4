"""Pure rules: no I/O, no cryptography, no clock read. Imports nothing of ours but itself."""
