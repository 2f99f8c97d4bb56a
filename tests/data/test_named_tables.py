"""Files and DataFrames of the reader's own: separators, names, what is damaged."""

import gzip

import numpy as np
import pandas as pd
import pytest

from sbnn import PairedData
from sbnn.data.named_tables import read_descriptions, read_table

TABLE = pd.DataFrame({"a, b": [1.5, np.nan], "c": [2, 3]}, index=["001", "NA"])


@pytest.mark.parametrize(("name", "sep"), [("t.csv", ","), ("t.csv", ";"), ("t.csv", "\t"), ("t.tsv.gz", "\t")])
@pytest.mark.parametrize("corner", ["cell", ""])
def test_any_separator_and_names_that_look_like_numbers(tmp_path, name, sep, corner):
    TABLE.to_csv(tmp_path / name, sep=sep, index_label=corner, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(read_table(tmp_path / name, "t"), TABLE, check_dtype=False, check_names=False)


def test_tables_as_r_writes_them_have_no_name_above_the_names(tmp_path):
    (tmp_path / "r.txt").write_text('"Pvalb"\t"Sst"\n"cell1"\t3\t0\n"cell2"\t1\t7\n')
    expected = pd.DataFrame({"Pvalb": [3, 1], "Sst": [0, 7]}, index=["cell1", "cell2"])
    pd.testing.assert_frame_equal(read_table(tmp_path / "r.txt", "counts"), expected, check_names=False)


def test_what_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "t.csv.gz"
    TABLE.to_csv(path)
    content = path.read_bytes()
    damaged = {"cut.csv.gz": content[: len(content) // 2], "plain.csv.gz": gzip.decompress(content)}
    damaged |= {"packed.csv": b"\xff\xfe" + content}
    packed = gzip.compress(gzip.decompress(content))
    damaged["flipped.csv.gz"] = packed[:10] + b"\7" + packed[11:]  # a block of a kind that there is not
    for name, bytes_ in damaged.items():
        (tmp_path / name).write_bytes(bytes_)
        with pytest.raises(ValueError, match=f"counts: .*{name} is (damaged or not a table|not written in UTF-8)"):
            read_table(tmp_path / name, "counts")
    for name, text in {"empty.csv": "", "words.csv": "hello\nworld\n"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match="counts: .* is not a table, its first line has no commas, semicolons"):
            read_table(tmp_path / name, "counts")
    (tmp_path / "twice.csv").write_text("cell,Sst,Sst\nc1,1,2\n")
    with pytest.raises(ValueError, match="duplicate columns in counts: 'Sst'"):
        read_table(tmp_path / "twice.csv", "counts")
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv", "counts")


def test_rows_without_names_are_refused(small):
    data, _ = small
    counts = pd.DataFrame(data.counts, index=data.cell_names, columns=data.gene_names)
    features = pd.DataFrame(data.features, index=data.cell_names)
    with pytest.raises(ValueError, match="features has no names in its index, only row numbers: .* index_col=0"):
        PairedData.from_tables(counts, features.reset_index(drop=True))
    with pytest.raises(ValueError, match="counts has no names in its index"):
        PairedData.from_tables(counts.reset_index(names="cell"), features)


def test_the_column_of_names_is_the_one_that_has_most_of_them(tmp_path):
    """Cells that look like numbers: a running number or a depth is not taken for their names."""
    names = np.array([str(number) for number in range(1000, 1100)])
    order = np.random.default_rng(0).permutation(100)
    cells = pd.DataFrame({"depth": 1050 + np.arange(100), "cell": names[order], "type": [f"t{i}" for i in order]})
    cells.to_csv(tmp_path / "cells.csv")
    for table in (cells, tmp_path / "cells.csv"):
        assert list(read_descriptions(table, names)["type"][names]) == [f"t{i}" for i in range(100)]
    by_row = cells.assign(cell=order.astype(str))  # the rows are numbered 0 to 99 as the cells are
    assert list(read_descriptions(by_row, np.arange(100).astype(str))["type"]) == list(cells["type"])
    with pytest.raises(ValueError, match="which column of cells holds their names, 'cell', 'again'"):
        read_descriptions(by_row.assign(again=np.arange(100)), np.arange(100).astype(str))
