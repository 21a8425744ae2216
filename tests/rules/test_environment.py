"""Variables that begin with ENROL_ and are not settings."""

import pytest

from users.rules.environment import ignored, misspelt
from users.settings import TAKES

KUBERNETES = {
    "ENROL_SERVICE_HOST": "10.0.0.1",
    "ENROL_SERVICE_PORT": "80",
    "ENROL_SERVICE_PORT_HTTP": "80",
    "ENROL_SERVICE_PORT_HTTP_ADMIN": "81",
    "ENROL_PORT": "tcp://10.0.0.1:80",
    "ENROL_PORT_80_TCP": "tcp://10.0.0.1:80",
    "ENROL_PORT_80_TCP_PROTO": "tcp",
    "ENROL_PORT_80_TCP_PORT": "80",
    "ENROL_PORT_80_TCP_ADDR": "10.0.0.1",
    "ENROL_PORT_53_UDP": "udp://10.0.0.1:53",
    "ENROL_PORT_9_SCTP": "sctp://10.0.0.1:9",
    "ENROL_PORT_9_SCTP_PROTO": "sctp",
    "ENROL_WEB_SERVICE_HOST": "fd00::1",
    "ENROL_WEB_PORT": "tcp://[fd00::1]:80",
    "ENROL_WEB_PORT_80_TCP_ADDR": "fd00::1",
    "ENROL_HASH_PORT": "udp://10.0.0.1:53",
}
DOCKER = {
    "ENROL_NAME": "/web/enrol",
    "ENROL_ENV_GREETING": "hello = you",
    "ENROL_ENV_ENROL_PUBLIC_URL": "",
    "ENROL_PORT_80_TCP_START": "tcp://172.17.0.2:80",
    "ENROL_PORT_80_TCP_END": "tcp://172.17.0.2:89",
    "ENROL_PORT_80_TCP_PORT_START": "80",
    "ENROL_PORT_80_TCP_PORT_END": "89",
    "ENROL_1_NAME": "/web/enrol_1",
    "ENROL_1_ENV_PATH_INFO": "x",
}


@pytest.mark.parametrize("values", [KUBERNETES, DOCKER], ids=["Kubernetes", "Docker"])
def test_injected(values: dict[str, str]) -> None:
    """No word about what stands beside a service that is called enrol."""
    assert misspelt(values, TAKES) is None
    assert ignored(values, TAKES) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENROL_SERVICE_HOST", "users.example.com"),
        ("ENROL_SERVICE_PORT", "http"),
        ("ENROL_PORT", "8000"),
        ("ENROL_PORT", "http://10.0.0.1:80"),
        ("ENROL_PORT", ""),
        ("ENROL_PORT_80_TCP_ADDR", "10.0.0"),
        ("ENROL_PORT_80_TCP_PROTO", "http"),
        ("ENROL_PORT_HTTP_TCP", "tcp://10.0.0.1:80"),
        ("ENROL_NAME", "Users of Example"),
        ("ENROL_ENV_GREETING", "hello"),
        ("ENROL_VERSION", "1"),
        ("ENROL_", "x"),
    ],
)
def test_other_unknown_names(name: str, value: str) -> None:
    """Name and value must both have the form. The sentence never repeats the value."""
    assert misspelt({name: value}, TAKES) is None
    assert ignored({name: value}, TAKES) == (f"{name} is not a setting, so Enrol ignores it.",)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ENROL_PUBLIC_URI", "ENROL_PUBLIC_URL"),
        ("ENROL_PUBLICURL", "ENROL_PUBLIC_URL"),
        ("ENROL_PUBLIC_URLS", "ENROL_PUBLIC_URL"),
        ("ENROL_PUBILC_URL", "ENROL_PUBLIC_URL"),
        ("ENROL_TRUSTED_HOST", "ENROL_TRUSTED_HOSTS"),
        ("ENROL_HASHSLOT", "ENROL_HASH_SLOTS"),
        ("ENROL_log_format", "ENROL_LOG_FORMAT"),
        ("ENROL_SECRET_KEY", "SECRET_KEY"),
        ("ENROL_DATABASE_URL", "DATABASE_URL"),
        ("ENROL_DATABASE_URI", "DATABASE_URL"),
    ],
)
def test_misspelt(name: str, meant: str) -> None:
    """Up to two letters off, in any case, or a prefix too many."""
    assert misspelt({"PATH": "/bin", name: "hunter2"}, TAKES) == f"{name} is not a setting. Did you mean {meant}?"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ENROL_TRUSTED_PROXY", "so Enrol ignores it. Did you mean ENROL_TRUSTED_PROXIES?"),
        ("ENROL_\udcff\n", "ENROL_\\udcff\n is not"),
        ("ENROL_" + "X" * 9000, "so Enrol ignores it."),
    ],
    ids=["similar", "bytes", "long"],
)
def test_sentence(name: str, words: str) -> None:
    assert words in ignored({name: "x"}, TAKES)[0]
