"""The root of trust, and keys that live in memory and nowhere else."""
