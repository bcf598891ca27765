"""Draws the flowchart of the decision matrix. The path of the decision has heavy lines, visible without colour."""

from collections.abc import Iterator

from horae.cli.output import paint
from horae.matrix import OTHERWISE, STEPS, Decision, Step

type Piece = tuple[str, bool]
"""A text, and whether it is on the path."""

WIDTH = max(len(step.question) for step in STEPS) + 10
"""The width of a box, in columns."""
MIDDLE = WIDTH // 2
LABELS = {True: ("up to an hour", "over an hour"), False: ("yes", "no")}
"""For a step about the frequency and for the other steps: the label of the exit, and the label of the way on."""
ARM = max(len(leaves) for leaves, _ in LABELS.values()) + 6


def print_flowchart(decision: Decision) -> None:
    for line in lines(decision):
        print("".join(paint(text, "bold" if lit else "dim") for text, lit in line))


def lines(decision: Decision) -> Iterator[list[Piece]]:
    """Draw from START down. A step that was not reached is not on the path."""
    answered = len(decision.path)
    fell_through = decision.path[-1].answer == "no"
    yield [("START".center(WIDTH).rstrip(), True)]
    yield [(" " * MIDDLE + "┃", True)]
    for place, step in enumerate(STEPS, start=1):
        leaves = place == answered and not fell_through
        yield from _step(step, asked=place <= answered, leaves=leaves)
    yield [(OTHERWISE[0].label.center(WIDTH).rstrip(), fell_through)]


def _step(step: Step, *, asked: bool, leaves: bool) -> Iterator[list[Piece]]:
    wall, edge = ("┃", "━") if asked else ("│", "─")
    enter, out, corners = ("┻", "┯", "┏┓┗┛") if asked else ("┴", "┬", "┌┐└┘")
    goes_on = asked and not leaves
    away, onward = LABELS[bool(step.yes_frequencies)]
    arm, tip = ("━", "▶") if leaves else ("─", "▷")
    joint = "┣" if leaves else "┠" if asked else "├"
    left, right = edge * (MIDDLE - 1), edge * (WIDTH - MIDDLE - 2)
    question = f"{wall}  {step.number}  {step.question}".ljust(WIDTH - 1)
    yield [(corners[0] + left + enter + right + corners[1], asked)]
    yield [(question + joint, asked), (f"{arm * 2} {away} ".ljust(ARM, arm) + f"{tip} {step.yes.label}", leaves)]
    yield [(corners[2] + left + ("┳" if goes_on else out) + right + corners[3], asked)]
    yield [(" " * MIDDLE + ("┃" if goes_on else "│") + f" {onward}", goes_on)]
