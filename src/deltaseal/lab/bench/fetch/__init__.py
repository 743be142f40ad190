"""Bringing a corpus here: from pip, npm, apt and URLs with the ordinary clients, checked by SHA-256."""

from deltaseal.lab.bench.fetch.run import Fetched, fetch

__all__ = ["Fetched", "fetch"]
