"""The commands about many users at once: flask users import, imports, undo-import and export."""

from users.cli.bulk import export, imports, past_imports  # noqa: F401  (the import adds their commands to the group)
