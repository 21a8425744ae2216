"""The commands about many users at once: flask users import, imports and undo-import."""

from users.cli.bulk import imports, past_imports  # noqa: F401  (the import adds their commands to the group)
