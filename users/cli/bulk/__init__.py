"""The commands about many users at once: flask users import, imports and undo-import."""

from users.cli.bulk import imports  # noqa: F401  (the import adds its command to the group)
