"""Closing is bounded in time, whatever a broker does."""

import asyncio

import pytest

from horae.queues import closing
from horae.queues.closing import close_all


class Connection:
    def __init__(self, answers: bool) -> None:
        self.closed, self._answers = False, answers

    async def close(self) -> None:
        if not self._answers:
            await asyncio.Event().wait()
        self.closed = True


async def test_one_that_does_not_answer_keeps_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(closing, "CLOSE_SECONDS", 0.01)
    silent, sound = Connection(answers=False), Connection(answers=True)
    await asyncio.wait_for(close_all([silent, sound]), 5)
    assert (silent.closed, sound.closed) == (False, True)
    assert [record.__dict__["action"] for record in caplog.records] == ["close_given_up"]
