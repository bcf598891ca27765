"""`horae dead show RUN_ID`: one dead letter: payload, error, traceback, history."""

import asyncio

import typer

from horae.cli.options import Json, RunId
from horae.cli.project import settings_of, with_store
from horae.reasons import worded
from horae.runs import Run
from horae.settings import Settings
from horae.store.values import DeadLetter


def command(context: typer.Context, run_id: RunId, json: Json = False) -> int:
    """One dead letter: what was to be run, the error with its traceback, and the run's story.

    \b
    horae dead show 6c7b7f0e
    """
    letter, row = asyncio.run(_find(with_store(settings_of(context)), run_id))
    if json:
        from horae.cli.output import print_json
        from horae.shapes.dead_letters import whole_letter_shape

        print_json(whole_letter_shape(letter, row))
    else:
        _draw(letter, row)
    return 0


async def _find(settings: Settings, given: str) -> tuple[DeadLetter, Run | None]:
    from horae.cli.dead.letters import Selection
    from horae.scheduler.replays import letter_of
    from horae.store import connect

    async with connect(settings) as store:
        ids = await Selection(run_ids=[given], job=None, all=False).ids(store.ledger, store.dead_letters)
        assert ids
        return await letter_of(store.ledger, store.dead_letters, ids[0]), await store.ledger.run(ids[0])


def _draw(letter: DeadLetter, run: Run | None) -> None:
    from horae import clock
    from horae.cli.output import paint
    from horae.cli.stories import draw_failure, draw_story, draw_values

    why = paint(worded(letter.reason, letter.note), "red")
    print(f"{paint(letter.job or '(no job)', 'bold')}  {why}  {paint(letter.run_id, 'dim')}")
    print(f"  died at {clock.isoformat(letter.at)}")
    if letter.message:
        draw_values("context", letter.message.context)
        draw_values("metadata", letter.message.metadata)
    else:
        print(f"\n{paint('the content, which is not a valid message', 'bold', 'underline')}")
        for line in letter.body.split("\n"):
            print(f"  {line}")
    draw_failure(letter.failure)
    if run and run.story:
        draw_story(run)
    print(f"\n{paint(_way_out(letter), 'dim')}")


def _way_out(letter: DeadLetter) -> str:
    if letter.message:
        return f"→ horae dead replay {letter.run_id}; --context KEY=VALUE changes its context"
    return f"→ send the right message again, or enqueue the job; then run horae dead drop {letter.run_id}"
