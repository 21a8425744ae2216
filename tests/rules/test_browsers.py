"""Browsers in words: what browsers of today send, and what else can stand in the header."""

import pytest

from users.rules import browsers

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
LINUX = "Mozilla/5.0 (X11; Linux x86_64)"
ANDROID = "Mozilla/5.0 (Linux; Android 10; K)"
CHROME_OS = "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)"
IPAD = "Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X)"
BLINK, WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)", "AppleWebKit/605.1.15 (KHTML, like Gecko)"
CHROME = f"{BLINK} Chrome/142.0.0.0 Safari/537.36"
CHROME_ON_A_PHONE = f"{BLINK} Chrome/142.0.0.0 Mobile Safari/537.36"

KNOWN = {
    f"{WINDOWS} {CHROME}": "Chrome on Windows",
    f"{MAC} {CHROME}": "Chrome on macOS",
    f"{LINUX} {CHROME}": "Chrome on Linux",
    f"{CHROME_OS} {CHROME}": "Chrome on ChromeOS",
    f"{ANDROID} {CHROME_ON_A_PHONE}": "Chrome on Android",
    f"{IPHONE} {WEBKIT} CriOS/142.0.7444.60 Mobile/15E148 Safari/604.1": "Chrome on iPhone",
    f"{IPAD} {WEBKIT} CriOS/142.0.7444.60 Mobile/15E148 Safari/604.1": "Chrome on iPad",
    f"{LINUX} {BLINK} HeadlessChrome/142.0.0.0 Safari/537.36": "Chrome on Linux",
    f"{WINDOWS} {CHROME} Edg/142.0.0.0": "Edge on Windows",
    f"{MAC} {CHROME} Edg/142.0.0.0": "Edge on macOS",
    f"{ANDROID} {CHROME_ON_A_PHONE} EdgA/142.0.0.0": "Edge on Android",
    f"{IPHONE} {WEBKIT} Version/18.0 EdgiOS/142.0.3595.65 Mobile/15E148 Safari/604.1": "Edge on iPhone",
    f"{WINDOWS} {BLINK} Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763": "Edge on Windows",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0": "Firefox on Windows",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0": "Firefox on macOS",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0": "Firefox on Linux",
    "Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0": "Firefox on Android",
    f"{IPHONE} {WEBKIT} FxiOS/145.0 Mobile/15E148 Safari/605.1.15": "Firefox on iPhone",
    "Mozilla/5.0 (X11; FreeBSD amd64; rv:145.0) Gecko/20100101 Firefox/145.0": "Firefox",
    f"{MAC} {WEBKIT} Version/26.1 Safari/605.1.15": "Safari on macOS",  # an iPad too, by default
    f"{IPHONE} {WEBKIT} Version/26.1 Mobile/15E148 Safari/604.1": "Safari on iPhone",
    f"{IPAD} {WEBKIT} Version/18.5 Mobile/15E148 Safari/604.1": "Safari on iPad",
    f"{WINDOWS} {CHROME} OPR/124.0.0.0": "Opera on Windows",
    f"{ANDROID} {CHROME_ON_A_PHONE} OPR/92.0.0.0": "Opera on Android",
    f"{IPHONE} {WEBKIT} Version/18.5 Mobile/15E148 Safari/604.1 OPT/6.3.0": "Opera on iPhone",
    "Opera/9.80 (Android; Opera Mini/85.0/191.303; U; en) Presto/2.12.423 Version/12.16": "Opera on Android",
    f"{ANDROID} {BLINK} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36": "Samsung Internet on Android",
}
UNKNOWN = [
    "",
    " ",
    "curl/8.14.1",
    "python-requests/2.32.5",
    "Mozilla/5.0",
    WINDOWS,
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "<script>alert(1)</script>",
    "'; DROP TABLE admin_sessions; --",
    "{{ 7 * 7 }}",
    "chrome safari firefox",
    "Firefox on Windows",
    "\x00\udcff\u202e",
    "x" * 60_000,
]


@pytest.mark.parametrize(("user_agent", "words"), KNOWN.items(), ids=[*KNOWN.values()])
def test_known(user_agent: str, words: str) -> None:
    assert browsers.name_of(user_agent) == words


@pytest.mark.parametrize("user_agent", UNKNOWN, ids=lambda text: ascii(text)[:30])
def test_unknown(user_agent: str) -> None:
    assert browsers.name_of(user_agent) is None


@pytest.mark.parametrize(
    "hostile", ["<b>Firefox/1</b> Windows", "Firefox/{{ config }} Windows", "Firefox/\u202e Windows"]
)
def test_words_are_ours(hostile: str) -> None:
    """A browser can say that it is another one, and nothing else."""
    assert browsers.name_of(hostile) == "Firefox on Windows"
