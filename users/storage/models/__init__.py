"""The tables, in SQLAlchemy's terms. `storage/migrations` makes them; a test holds the two together."""

from users.storage.models.api_keys import ApiKey
from users.storage.models.audit_events import AuditEvent
from users.storage.models.daily_counts import DailyCount
from users.storage.models.hosts import Observation, SecretKeyCheck
from users.storage.models.idempotency_records import IdempotencyRecord
from users.storage.models.jobs import BulkAct, BulkActUser, Import, Job
from users.storage.models.second_factors import RecoveryCode, SecondFactor
from users.storage.models.segments import Status, segments, status_of
from users.storage.models.sign_in import AdminSession, KnownNetwork, SetupLink, Throttle
from users.storage.models.tables import db
from users.storage.models.users import User, entity_tag, members

__all__ = [
    "AdminSession",
    "ApiKey",
    "AuditEvent",
    "BulkAct",
    "BulkActUser",
    "DailyCount",
    "IdempotencyRecord",
    "Import",
    "Job",
    "KnownNetwork",
    "Observation",
    "RecoveryCode",
    "SecondFactor",
    "SecretKeyCheck",
    "SetupLink",
    "Status",
    "Throttle",
    "User",
    "db",
    "entity_tag",
    "members",
    "segments",
    "status_of",
]
