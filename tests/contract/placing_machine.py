"""The state machine of the store with a broker that also gets messages before they are due."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from horae.messages import Message
from horae.redis.keys import OWN
from tests.contract.store_machine import ANY, MOSTLY, StoreMachine
from tests.contract.store_plans import HOUR
from tests.contract.stores import LEASE, PROVIDERS


class PlacingMachine(StoreMachine):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.unplaced: list[Message] = []

    @rule(within=st.sampled_from([LEASE, HOUR, HOUR]), told=MOSTLY)
    def place(self, within: timedelta, told: bool) -> None:
        """Give the brokers what is due later; the relay may die before it tells the store."""
        for provider in PROVIDERS:
            if provider not in (self.both.carried, OWN):
                self.place_at(provider, within, told)

    def place_at(self, provider: str, within: timedelta, told: bool) -> None:
        messages = [one.message for one in self.both(lambda store: store.outbox.upcoming(provider, within))]
        self.broker += [one for one in messages if one.delivery_id not in self.known]
        self.known |= {one.delivery_id for one in messages}
        if told:
            self.both(lambda store: store.outbox.placed(messages))
        else:
            self.unplaced += messages

    @precondition(lambda self: self.unplaced)
    @rule(pick=ANY)
    def place_late(self, pick: int) -> None:
        message = self.unplaced.pop(pick % len(self.unplaced))
        self.both(lambda store: store.outbox.placed([message]))
