"""NCRONTAB, as far as it takes to see that a timer has not run when it should have. Pure.

Six fields from seconds to weekdays, or five from minutes, in UTC; unlike in cron a day has to match both of its fields. Source:
learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions.
"""

from __future__ import annotations

from datetime import datetime, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()),
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (0, 7, _DAYS),
)


def times_due(schedule: str, after: datetime, until: datetime, most: int) -> int:
    """How often a schedule fell due after one moment and no later than the other, counted to `most`. Raises ValueError."""
    words = schedule.lower().split()
    words = ["0", *words] if len(words) == 5 else words
    if len(words) != len(_FIELDS):
        raise ValueError(f"`{schedule}` has not six fields")
    seconds, minutes, hours, days, months, weekdays = (_values(word, *field) for word, field in zip(words, _FIELDS, strict=True))
    found, at = 0, after.replace(second=0, microsecond=0)
    while at <= until:
        weekday = at.isoweekday() % 7
        if at.month not in months or at.day not in days or (weekday not in weekdays and (weekday or 7) not in weekdays):
            at = at.replace(hour=0, minute=0) + timedelta(days=1)
        elif at.hour not in hours:
            at = at.replace(minute=0) + timedelta(hours=1)
        else:
            if at.minute in minutes:
                found += sum(after < at + timedelta(seconds=each) <= until for each in seconds)
            if found >= most:
                return most
            at += timedelta(minutes=1)
    return found


def _values(word: str, least: int, greatest: int, names: tuple[str, ...]) -> frozenset[int]:
    values: set[int] = set()
    for part in word.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = least, greatest
        else:
            low = _number(first, least, names)
            high = _number(last, least, names) if dash else greatest if slash else low
        if not least <= low <= high <= greatest or (slash and not (step.isascii() and step.isdigit() and int(step))):
            raise ValueError(f"`{word}` is no field of a schedule")
        values.update(range(low, high + 1, int(step) if slash else 1))
    return frozenset(values)


def _number(word: str, least: int, names: tuple[str, ...]) -> int:
    return names.index(word[:3]) + least if word[:3] in names else int(word)
