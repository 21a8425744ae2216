"""Clients that create users at full speed and note the answers, and the comparison with the database afterwards."""

import http.client
import json
import ssl
import threading
import time
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, Self

PASSWORD = "three random words"
ANSWER_SECONDS = 15


@dataclass(frozen=True)
class Answer:
    """The answer to one create. A status of 0 is a broken connection: there was no answer."""

    at: float  # when it was answered, on the monotonic clock
    seconds: float
    status: int
    email: str
    user_id: str | None = None
    error: str = ""


class Clients:
    """A number of clients, each in a thread of its own, which act again and again until `stop`."""

    def __init__(self, number: int) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(number)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every client finish what it has begun."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _go_on(self) -> None:
        while not self._stop.is_set():
            self._act()

    def _act(self) -> None:
        raise NotImplementedError


@dataclass
class Load(Clients):
    """Clients that create users, each with its own connection."""

    port: int
    key: str = field(repr=False)
    clients: int = 8
    context: ssl.SSLContext | None = None  # for https

    def __post_init__(self) -> None:
        super().__init__(self.clients)
        self.answers: list[Answer] = []

    def told(self, since: float = 0.0) -> list[Answer]:
        """Return the answers since a moment."""
        return [answer for answer in self.answers if answer.at >= since]

    def created(self) -> list[Answer]:
        """Return the ledger: everything that was acknowledged with a 201."""
        return [answer for answer in self.answers if answer.status == 201]

    def seconds_until_well(self, healed: float, *, in_a_row: int = 20) -> float:
        """Return how long after `healed` the answers were 201 and nothing else, `in_a_row` of them or more."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answers = sorted(self.told(healed), key=lambda answer: answer.at)
            last_bad = max((i for i, answer in enumerate(answers) if answer.status != 201), default=-1)
            if len(answers) - 1 - last_bad >= in_a_row:
                return max(0.0, answers[last_bad].at - healed) if last_bad >= 0 else 0.0
            time.sleep(0.05)
        raise AssertionError(f"not well 30 s after the fault: {[answer.status for answer in answers[-20:]]}")

    def _act(self) -> None:
        with closing(self._connection()) as connection:
            while not self._stop.is_set() and self._note(connection):
                pass

    def _connection(self) -> http.client.HTTPConnection:
        if self.context:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS, context=self.context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)

    def _note(self, connection: http.client.HTTPConnection) -> bool:
        """Create one user and write down what came of it; tell whether the connection still holds."""
        email, start = f"{uuid.uuid4().hex}@example.com", time.monotonic()
        try:
            status, told = self._create(connection, email)
        except (OSError, http.client.HTTPException, ValueError) as error:
            status, told = 0, {"error": repr(error)}
        now = time.monotonic()
        self.answers.append(Answer(now, now - start, status, email, told.get("id"), str(told.get("error", ""))))
        if status != 201:
            time.sleep(0.02)  # a client that is refused does not hammer
        return status != 0

    def _create(self, connection: http.client.HTTPConnection, email: str) -> tuple[int, dict[str, Any]]:
        body = json.dumps({"email": email, "password": PASSWORD})
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        with suppress(BrokenPipeError):  # it may refuse before it has read all: its answer is there
            connection.request("POST", "/v1/user/", body, headers)
        answer = connection.getresponse()
        told: dict[str, Any] = json.loads(answer.read())
        return answer.status, told
