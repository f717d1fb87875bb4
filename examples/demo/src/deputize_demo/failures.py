"""Why the demo could not be played."""


class ServerFailed(Exception):  # read as a sentence
    """A server did not start."""


class NoModel(Exception):  # read as a sentence
    """LangChain knows no such model, or its package is not installed."""


class ModelFailed(Exception):  # read as a sentence
    """The real model could not be asked."""
