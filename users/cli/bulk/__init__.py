"""The commands about many users at once: flask users import, imports, undo-import, export; and the work of servers."""

from users.cli.bulk import export, imports, past_imports  # noqa: F401  (the import adds their commands to the group)
from users.cli.bulk.work import jobs_group

__all__ = ["jobs_group"]
