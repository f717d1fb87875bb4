"""The authority at a URL: the same objects over HTTP, and what a resource server reads from it."""
