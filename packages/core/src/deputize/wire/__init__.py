"""Bytes to and from the model, one module a standard. Nothing here decides; it says whether a form holds."""
