"""The tables of the history, version after version; a file of an older version is brought to the newest."""

from typing import Final

_FIRST: Final = (
    """CREATE TABLE attempts (
        id INTEGER PRIMARY KEY, unix_s REAL NOT NULL, day TEXT NOT NULL,
        backend TEXT NOT NULL, model TEXT NOT NULL, hardware TEXT NOT NULL, operation TEXT NOT NULL,
        program TEXT NOT NULL, program_known_by TEXT NOT NULL, mode TEXT, effective_mode TEXT,
        stream INTEGER NOT NULL, estimated_prompt_tokens INTEGER NOT NULL,
        prompt_tokens INTEGER, completion_tokens INTEGER, cached_tokens INTEGER, neighbours REAL NOT NULL,
        expected_tokens REAL, predicted TEXT, alternatives TEXT,
        busy_s REAL NOT NULL, first_words_s REAL, total_s REAL, load_s REAL, prompt_s REAL, decode_s REAL,
        prefill_j REAL NOT NULL, decoding_j REAL NOT NULL, load_j REAL NOT NULL,
        energy_source TEXT NOT NULL, energy_error REAL,
        result TEXT NOT NULL, error TEXT, fault TEXT, status INTEGER, finish TEXT, resumed INTEGER NOT NULL)""",
    "CREATE INDEX attempts_by_day ON attempts (day)",
    "CREATE INDEX attempts_by_time ON attempts (unix_s)",
    """CREATE TABLE requests (
        id INTEGER PRIMARY KEY, unix_s REAL NOT NULL, day TEXT NOT NULL,
        backend TEXT, model TEXT, operation TEXT NOT NULL, program TEXT NOT NULL, program_known_by TEXT NOT NULL,
        priority TEXT, mode TEXT, effective_mode TEXT,
        attempts INTEGER NOT NULL, queue_wait_s REAL NOT NULL, total_s REAL NOT NULL, ttft_s REAL,
        prompt_tokens INTEGER, completion_tokens INTEGER, energy_j REAL, saved_j REAL, result TEXT NOT NULL)""",
    "CREATE INDEX requests_by_day ON requests (day)",
    "CREATE INDEX requests_by_time ON requests (unix_s)",
    """CREATE TABLE devices (
        day TEXT NOT NULL, device TEXT NOT NULL, account TEXT NOT NULL, source TEXT NOT NULL, joules REAL NOT NULL,
        PRIMARY KEY (day, device, account, source)) WITHOUT ROWID""",
)

_SECOND: Final = (
    """CREATE TABLE modes (
        id INTEGER PRIMARY KEY, unix_s REAL NOT NULL, day TEXT NOT NULL,
        mode TEXT NOT NULL, effective_mode TEXT NOT NULL)""",
    "CREATE INDEX modes_by_time ON modes (unix_s)",
)

_ERRORS_AND_MONEY: Final = (
    "ALTER TABLE attempts ADD COLUMN spent REAL NOT NULL DEFAULT 0",
    "ALTER TABLE attempts ADD COLUMN currency TEXT NOT NULL DEFAULT ''",
    "UPDATE attempts SET energy_error = 0.5 WHERE energy_error IS NULL",
    "ALTER TABLE devices ADD COLUMN error_j REAL NOT NULL DEFAULT 0",
    "UPDATE devices SET error_j = 0.5 * joules",
)

MIGRATIONS: Final = (_FIRST, _SECOND, _ERRORS_AND_MONEY)
"""The statements that make each version of the one before it; the first begins with an empty file."""
