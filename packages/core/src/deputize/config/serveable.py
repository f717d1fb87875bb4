"""What a server asks of a configuration beyond what an authority in process does."""

from deputize.config.configuration import Configuration
from deputize.model.failure import ConfigurationError


def check_serveable(configuration: Configuration) -> None:
    """Raise ConfigurationError, with what to write, where the file is good in process and not for a server."""

    def refused(key: str, message: str) -> ConfigurationError:
        return ConfigurationError(f"{key}: {message}", path=configuration.path, key=key)

    if configuration.users == "unrestricted" and not configuration.users_written:
        raise refused(
            "authority.users",
            "nothing says who the users are, and a server lets in none by default. Write [[users]] for an issuer "
            'that you trust, or users = "listed" and a policy, or users = "unrestricted" if any user may use any agent',
        )
    if ":memory:" in configuration.store_url and configuration.server.workers > 1:
        raise refused("server.workers", "every worker would have a store of its own; name a file in [store] url")
