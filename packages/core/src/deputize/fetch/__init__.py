"""The one way out to a URL that came from outside: address checked and pinned, no redirects, everything capped."""
