"""Tables of record that several runs fill: new rows replace earlier ones of the same model, all or nothing."""

import pandas as pd

from sbnn.storage.writing import all_or_nothing


def write_with_earlier_rows(rows, path, orders):
    """Write rows, and those of an earlier run that they do not replace, to a table of record.

    Parameters
    ----------
    rows : DataFrame
        Of one run, rounded as they are to be written.
    path : Path
        A CSV file. An interrupted call leaves it as it was.
    orders : dict
        Names of the key columns, such as "model", and the values in the order in which the table has them. New rows
        replace the earlier ones with the same keys; earlier ones with another value are dropped: their model is no
        longer measured.

    Returns
    -------
    DataFrame
        What was written. Rows with the same keys are in the order in which they were given.

    Raises
    ------
    ValueError
        A new row has a key that is not among the values.
    """
    keys = list(orders)
    for name in keys:
        unknown = rows.loc[~rows[name].isin(list(orders[name])), name]
        if len(unknown):
            raise ValueError(f"rows has {name} {unknown.iloc[0]!r}, which is not one of {', '.join(orders[name])}")
    if path.exists():
        # A family may be called NA; numbers are written again as they are.
        earlier = pd.read_csv(path, keep_default_na=False, na_values=[""], float_precision="round_trip")
        kept = ~pd.MultiIndex.from_frame(earlier[keys]).isin(pd.MultiIndex.from_frame(rows[keys]))
        for name in keys:
            kept &= earlier[name].isin(list(orders[name])).to_numpy()
        rows = pd.concat([part for part in (earlier[kept], rows) if len(part)], ignore_index=True)
    places = {name: list(values).index for name, values in orders.items()}
    rows = rows.sort_values(keys, key=lambda column: column.map(places[column.name]), kind="stable", ignore_index=True)
    write_whole(rows, path)
    return rows


def write_whole(table, path):
    """Write a table to a CSV file, all or nothing."""
    with all_or_nothing(path) as temporary:
        table.to_csv(temporary, index=False)
