"""The database of a fleet: its tables, by version, and how an older file becomes a newer one.

A step is never changed once released: a file of version N has gone through the
steps 1 to N, in order, each in one transaction with the number it leads to.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from deltaseal.errors import DocumentTypeError

__all__ = ["APPLICATION", "VERSION", "migrate"]

APPLICATION: Final = 0x44_53_46_4C  # "DSFL": SQLite's application_id, by which a file is known as a fleet

_STEP_1: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # One row a device: who it is, and what its newest report says. Times are the fleet's, but for `since`.
    """CREATE TABLE devices (
        number INTEGER PRIMARY KEY,
        device TEXT NOT NULL UNIQUE,
        key BLOB NOT NULL UNIQUE,
        hint BLOB NOT NULL,
        os TEXT NOT NULL,
        model TEXT NOT NULL,
        enrolled INTEGER NOT NULL,
        sequence INTEGER NOT NULL DEFAULT 0,
        heard INTEGER NOT NULL DEFAULT 0,
        version TEXT NOT NULL DEFAULT '',
        build TEXT NOT NULL DEFAULT '',
        channel TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL DEFAULT '',
        journal INTEGER NOT NULL DEFAULT 0,
        head TEXT NOT NULL DEFAULT '',
        active TEXT NOT NULL DEFAULT '',
        work TEXT NOT NULL DEFAULT '',
        pending TEXT NOT NULL DEFAULT '',
        holds TEXT NOT NULL DEFAULT '{}',
        removed TEXT NOT NULL DEFAULT '[]',
        loops INTEGER NOT NULL DEFAULT 0,
        why TEXT NOT NULL DEFAULT '',
        reason TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX devices_hint ON devices (hint)",
    # Every report that was counted, as it was signed: the evidence behind all figures.
    """CREATE TABLE reports (
        device INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        received INTEGER NOT NULL,
        body BLOB NOT NULL,
        signature BLOB NOT NULL,
        PRIMARY KEY (device, sequence, received)
    ) WITHOUT ROWID""",
    # What exposure is counted from: a row where build or active improvement changed.
    """CREATE TABLE changes (
        device INTEGER NOT NULL,
        received INTEGER NOT NULL,
        build TEXT NOT NULL,
        active TEXT NOT NULL,
        PRIMARY KEY (device, received)
    ) WITHOUT ROWID""",
    # Seconds from the offer until an improvement was in use and healthy, as devices reported.
    """CREATE TABLE timings (
        device INTEGER NOT NULL,
        id TEXT NOT NULL,
        seconds INTEGER NOT NULL,
        fetched INTEGER NOT NULL,
        PRIMARY KEY (device, id)
    ) WITHOUT ROWID""",
    # Counted, not kept: whoever floods a fleet with bad reports fills no disk.
    """CREATE TABLE refusals (
        day INTEGER NOT NULL,
        reason TEXT NOT NULL,
        device INTEGER NOT NULL,
        count INTEGER NOT NULL,
        sentence TEXT NOT NULL,
        PRIMARY KEY (day, reason, device)
    ) WITHOUT ROWID""",
    # What the publisher said, verified: the newest catalogue of each system, and every move of a rollout.
    """CREATE TABLE catalogues (
        os TEXT PRIMARY KEY,
        serial INTEGER NOT NULL,
        body BLOB NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE improvements (
        id TEXT PRIMARY KEY,
        bundle TEXT NOT NULL,
        published INTEGER NOT NULL,
        withdrawn INTEGER NOT NULL DEFAULT 0,
        models TEXT NOT NULL,
        fixes TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE moves (
        id TEXT NOT NULL,
        issued INTEGER NOT NULL,
        channel TEXT NOT NULL,
        phase INTEGER NOT NULL,
        paused INTEGER NOT NULL,
        PRIMARY KEY (id, issued)
    ) WITHOUT ROWID""",
)

# Why a device is open has a history too: a change is a row where anything changed by which that is told, and
# a time without reports is a row. Both are read out of the reports that were kept. 259200: three days.
_STEP_2: Final = (
    "DROP TABLE changes",
    """CREATE TABLE changes (
        device INTEGER NOT NULL,
        received INTEGER NOT NULL,
        build TEXT NOT NULL,
        channel TEXT NOT NULL,
        active TEXT NOT NULL,
        work TEXT NOT NULL,
        holds TEXT NOT NULL,
        removed TEXT NOT NULL,
        why TEXT NOT NULL,
        PRIMARY KEY (device, received)
    ) WITHOUT ROWID""",
    """CREATE TABLE silences (
        device INTEGER NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        PRIMARY KEY (device, since)
    ) WITHOUT ROWID""",
    """INSERT OR REPLACE INTO changes
        SELECT device, received, build, channel, active, work, holds, removed, why FROM (
            SELECT *, lag(state) OVER (PARTITION BY device ORDER BY received, sequence) AS before FROM (
                SELECT *, json_array(build, channel, active, work, holds, removed, why) AS state FROM (
                    SELECT device, received, sequence,
                        json_extract(said, '$.build') AS build,
                        json_extract(said, '$.channel') AS channel,
                        coalesce(json_extract(said, '$.active.id'), '') AS active,
                        coalesce(json_extract(said, '$.work'), '') AS work,
                        (SELECT json_group_array(json_extract(value, '$.id'))
                            FROM json_each(said, '$.holds')) AS holds,
                        json_extract(said, '$.removed') AS removed,
                        coalesce(json_extract(said, '$.blocked.why'), '') AS why
                    FROM (SELECT device, received, sequence, CAST(body AS TEXT) AS said FROM reports)
                )
            )
        ) WHERE before IS NULL OR before != state ORDER BY device, received""",
    """INSERT OR REPLACE INTO silences
        SELECT device, before + 259200, received FROM (
            SELECT device, received,
                lag(received) OVER (PARTITION BY device ORDER BY received, sequence) AS before
            FROM reports
        ) WHERE received - before > 259200""",
)

STEPS: Final = (_STEP_1, _STEP_2)
VERSION: Final = len(STEPS)


def migrate(connection: sqlite3.Connection, *, steps: tuple[tuple[str, ...], ...] = STEPS) -> int:
    """Bring a database to the newest version; return the one that it had.

    ``DocumentTypeError`` for a file that is no fleet, or of a newer deltaseal.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (version or tables):
        raise DocumentTypeError("this database is not that of a fleet", application=application)
    if version > len(steps):
        raise DocumentTypeError(
            f"this fleet has version {version}; this program knows {len(steps)}",
            hint="use the deltaseal that it was made with, or a newer one",
            expected=len(steps),
            found=version,
        )
    for number in range(version, len(steps)):
        connection.execute("BEGIN IMMEDIATE")
        for statement in steps[number]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
    return int(version)
