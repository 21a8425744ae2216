"""Checks of how people and proxies reach the service."""

from urllib.parse import urlsplit

from users.cli.doctor.findings import Finding, failed, ok, warning
from users.errors import Unavailable
from users.rules import hosts
from users.services import observations
from users.settings import Settings


def check_addresses(given: Settings) -> Finding:
    """Check that the settings about proxies, hosts and the public URL agree."""
    subject = "addresses"
    if given.trusted_proxies and not given.public_url:
        todo = "A proxy is trusted but the public address is not known. Set ENROL_PUBLIC_URL."
        return failed(subject, todo)
    if given.public_url and given.public_url.startswith("https:") and not given.trusted_proxies:
        todo = "The public address is https, which a proxy must serve. Set ENROL_TRUSTED_PROXIES to 1."
        return failed(subject, todo)
    host = urlsplit(given.public_url or "").netloc
    if host and given.trusted_hosts and not hosts.is_trusted(host, given.trusted_hosts):
        return failed(subject, "Add the host of ENROL_PUBLIC_URL to ENROL_TRUSTED_HOSTS.")
    return ok(subject, f"{given.public_url or 'no public address'}, {given.trusted_proxies} proxies trusted")


def check_requests(given: Settings) -> Finding:
    """Tell what requests of the last days revealed, as far as the settings do not fit it."""
    try:
        advice = observations.current_advice(given)
    except Unavailable:
        return failed("requests", "What they revealed is in the database: mend that first.")
    return warning("requests", " ".join(advice)) if advice else ok("requests", "the settings fit what was seen")
