"""The table of what was counted on days that have ended."""

from datetime import date

from sqlalchemy.orm import Mapped, mapped_column

from users.storage.models.tables import Model


class DailyCount(Model):
    """How many users were created on a day in UTC that has ended, and how many sign-ins succeeded and were refused.

    The sign-ins are None, not known, if the audit trail of the day was pruned before they were counted.
    """

    __tablename__ = "daily_counts"

    day: Mapped[date] = mapped_column(primary_key=True)
    users_created: Mapped[int]
    sign_ins: Mapped[int | None]
    refusals: Mapped[int | None]
