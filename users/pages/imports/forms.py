"""The form that takes a file of users, or rows that were pasted."""

from wtforms import BooleanField, FileField, SelectField, TextAreaField

from users.bulk.options import Options
from users.pages.forms import Form

MOST_PASTED = 1000  # rows
ENCODINGS = {
    "": "UTF-8, or UTF-16 with a byte order mark",
    "windows-1252": "Windows-1252",
    "iso-8859-15": "ISO-8859-15",
    "utf-16-le": "UTF-16, little endian, without a mark",
    "utf-16-be": "UTF-16, big endian, without a mark",
}


class ImportForm(Form):
    """A file of users."""

    file = FileField("File")
    rows = TextAreaField("Or paste rows", render_kw={"rows": 5, "spellcheck": "false", "autocomplete": "off"})
    no_password = BooleanField("Some users have no password yet")
    encoding = SelectField("Encoding", choices=ENCODINGS)
    keep_ids = BooleanField("Keep the IDs in the file")

    def options(self, encoding: str | None) -> Options:
        """Return what was said of a file. A user who exists is no error before the import is started."""
        return Options(
            skip_existing=True,
            no_password=bool(self.no_password.data),
            keep_ids=bool(self.keep_ids.data),
            encoding=encoding,
        )
