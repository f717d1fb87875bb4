"""Three small programs of agents, each with an order hidden in its data. `python -m deputize_examples.<name>`."""
