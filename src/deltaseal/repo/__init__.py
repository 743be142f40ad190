"""A repository, published and believed; and folders of offers.

``publisher`` makes it, ``client`` reads it, ``trusted`` judges it, ``mirrors`` and ``http`` fetch it;
docs/spec/repository.md says what it is.  TUF and HTTP are loaded by whoever needs them, not here.
"""

from typing import TYPE_CHECKING

from deltaseal._lazy import homes_in, names_from
from deltaseal.repo.mirrors import (
    DirectoryTransport,
    Repository,
    Transport,
    is_repository,
    needs_root,
    transport_of,
)
from deltaseal.repo.source import DirectorySource, Source, SourceFault

if TYPE_CHECKING:
    from deltaseal.repo.folders import DiskFolder, Folder, FsspecFolder, open_folder
    from deltaseal.repo.publisher import Lifetimes, Publisher, Report, Waiting
    from deltaseal.repo.remote import BoundRepository, bring_up_to_date, first_files

__all__ = [
    "BoundRepository",
    "DirectorySource",
    "DirectoryTransport",
    "DiskFolder",
    "Folder",
    "FsspecFolder",
    "Lifetimes",
    "Publisher",
    "Report",
    "Repository",
    "Source",
    "SourceFault",
    "Transport",
    "Waiting",
    "bring_up_to_date",
    "first_files",
    "is_repository",
    "needs_root",
    "open_folder",
    "transport_of",
]

_LAZY = {
    "folders": ("DiskFolder", "Folder", "FsspecFolder", "open_folder"),
    "publisher": ("Lifetimes", "Publisher", "Report", "Waiting"),
    "remote": ("BoundRepository", "bring_up_to_date", "first_files"),
}
__getattr__ = names_from(__name__, homes_in(__name__, _LAZY))
