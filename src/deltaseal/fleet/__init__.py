"""Many devices: who is enrolled, what they report, how far an improvement has come, who is still open."""

from deltaseal.fleet.days import Day
from deltaseal.fleet.enroll import Enrolled, enroll
from deltaseal.fleet.exposure import REASONS, BaseExposure, Exposure, exposure_to
from deltaseal.fleet.impact import Impact, impact_of
from deltaseal.fleet.ingest import Ingested, Refusal, documents_of, ingest
from deltaseal.fleet.publisher import Followed, Improvement, Move, Publisher, follow, publisher_of
from deltaseal.fleet.recommend import (
    Limits,
    Progress,
    Recommendation,
    progress_of,
    recommend,
    recommendations,
)
from deltaseal.fleet.store import SILENT_AFTER, Fleet, create_fleet, open_fleet
from deltaseal.fleet.timings import Took, timings_of

__all__ = [
    "REASONS",
    "SILENT_AFTER",
    "BaseExposure",
    "Day",
    "Enrolled",
    "Exposure",
    "Fleet",
    "Followed",
    "Impact",
    "Improvement",
    "Ingested",
    "Limits",
    "Move",
    "Progress",
    "Publisher",
    "Recommendation",
    "Refusal",
    "Took",
    "create_fleet",
    "documents_of",
    "enroll",
    "exposure_to",
    "follow",
    "impact_of",
    "ingest",
    "open_fleet",
    "progress_of",
    "publisher_of",
    "recommend",
    "recommendations",
    "timings_of",
]
