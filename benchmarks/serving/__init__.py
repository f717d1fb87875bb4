"""Servers in processes of their own, and one client that asks them all in the same way."""
