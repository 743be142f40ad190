"""Where offers come from."""

from deltaseal.repo.source import DirectorySource, Source, SourceFault

__all__ = ["DirectorySource", "Source", "SourceFault"]
