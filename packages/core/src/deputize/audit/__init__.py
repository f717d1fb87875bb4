"""The log: records, the tree over them, signed checkpoints, and their verification. Formats: `docs/formats/`."""
