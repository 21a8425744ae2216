"""A browser in words, from the header User-Agent: "Firefox on Windows"."""

# The first that is found: other browsers name Safari and Chrome too.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("Opera/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
# An iPad that asks for desktop pages, as it does by default, says that it is a Mac.
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def name_of(user_agent: str) -> str | None:
    """Return the browser and the system in words, or None without a known browser: the header can hold any text.

    All words are ours, so nothing of the header is stored or shown.
    """
    browser = next((words for part, words in _BROWSERS if part in user_agent), None)
    system = next((words for part, words in _SYSTEMS if part in user_agent), None)
    return f"{browser} on {system}" if browser and system else browser
