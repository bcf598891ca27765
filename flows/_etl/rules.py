"""The contract as SQL of DuckDB: how a text becomes a value, and why it does not.

A cast of DuckDB rounds `1.5` to the bigint 2 and `1.239` to the decimal 1.24. These rules refuse both.
"""

from flows._etl.contract import Column, Contract
from flows._etl.warehouse import SEPARATOR, quoted

SHOWN = 60
"""The most characters of a wrong value that a reason repeats."""


def given(column: Column) -> str:
    """The text of a cell, NULL if it is empty. A text column keeps an empty text."""
    name = f'"{column.name}"'
    return name if column.kind == "text" else f"nullif(trim({name}), '')"


def value(column: Column) -> str:
    """The cell as a value of its type, NULL if it is none."""
    text = given(column)
    cast = f"TRY_CAST({text} AS {column.duckdb})"
    if column.kind == "text":
        return f"CASE WHEN NOT contains({text}, chr(0)) THEN {text} END"
    if column.kind == "bigint":
        return f"CASE WHEN regexp_full_match({text}, '[+-]?\\d+') THEN {cast} END"
    if column.scale is not None:
        return f"CASE WHEN regexp_full_match({text}, '[+-]?\\d*(\\.\\d{{0,{column.scale}}}0*)?') THEN {cast} END"
    if column.kind == "double":
        return f"CASE WHEN isfinite({cast}) THEN {cast} END"
    if column.kind == "date":
        return f"CASE WHEN regexp_full_match({text}, '\\d{{4}}-\\d\\d-\\d\\d') AND year({cast}) > 0 THEN {cast} END"
    if column.kind == "timestamp":
        return f"CASE WHEN year({cast}) BETWEEN 1 AND 9999 THEN {cast} END"
    return cast


def reason(column: Column, contract: Contract) -> str:
    """A sentence about a wrong cell, NULL if the cell is right."""
    text = given(column)
    wrong = f"{quoted(column.name + ': ')} || '\"' || left({text}, {SHOWN}) || '\" is not a ' || {quoted(column.kind)}"
    if column.kind == "text":
        wrong = quoted(f"{column.name}: the text holds a NUL character")
    cases = f"WHEN {text} IS NOT NULL AND {value(column)} IS NULL THEN {wrong}"
    if column.name in (*contract.key, *contract.required):
        empty = f"coalesce({text}, '') = ''"
        cases = f"WHEN {empty} THEN {quoted(column.name + ': it is empty')} " + cases
    return f"CASE {cases} END"


def checked(contract: Contract) -> str:
    """SQL of all rows of `raw` as values, each with its reasons (NULL without one) and its original text."""
    values = ", ".join(f'{value(column)} AS "{column.name}"' for column in contract.columns)
    reasons = ", ".join(reason(column, contract) for column in contract.columns)
    original = ", ".join(f'"{name}" := "{name}"' for name in contract.names)
    return (
        f"SELECT _row, {values}, nullif(concat_ws('; ', {reasons}), '') "
        f"AS _reasons, CAST(to_json(struct_pack({original})) AS VARCHAR) AS _original FROM raw"
    )


def doubles(contract: Contract, cursor: str | None) -> str:
    """SQL of the row numbers in `checked` that have the key of another right row. The newest one is kept."""
    key = ", ".join(f'"{name}"' for name in contract.key)
    newest = f'"{cursor}" DESC NULLS LAST, ' if cursor else ""
    return (
        f"SELECT _row FROM checked WHERE _reasons IS NULL "
        f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {newest}_row DESC) > 1"
    )


def key_text(contract: Contract) -> str:
    """SQL of the key as one text, NULL if a part is missing."""
    return f" || {quoted(SEPARATOR)} || ".join(f'CAST("{name}" AS VARCHAR)' for name in contract.key)
