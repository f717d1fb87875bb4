"""The one way out to a URL that came from outside: address checked and pinned, no redirects, everything capped."""

from deputize.fetch.fetcher import Fetched as Fetched
from deputize.fetch.fetcher import Fetcher as Fetcher
