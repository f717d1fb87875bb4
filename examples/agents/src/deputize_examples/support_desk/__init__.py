"""A support agent that cannot reach finance, whatever a ticket tells it."""
