"""The command line: `sbnn report counts.csv features.csv --cells cells.csv -o report.html`."""

import argparse
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib

import sbnn
from sbnn.reporting.files import Read, read_cells
from sbnn.reporting.modes import MODES
from sbnn.reporting.report import DEFAULT_PATH, call_of_report, write_report

_EPILOG = """examples:
  sbnn report counts.csv features.csv --cells cells.csv --donors Mouse --families "RNA family" --types "RNA type"
  sbnn report cells.h5ad --features ephys --donors mouse --types cell_type -o report.html
  sbnn report counts.csv features.csv --mode full --store finished -o full.html

Rows of the tables are cells and columns are genes or features, with names in the first row and column; a table of
counts with a row for each gene is recognised by the names of the cells. The column names that you give belong to the
table of cells, or to obs of an AnnData.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the name of the program; those of the process by default.

    Returns
    -------
    int
        0 if all went well, 1 after an error, 130 after an interruption.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    try:
        _report(parsed, shlex.join(["sbnn", *given]))
    except KeyboardInterrupt:
        kept = f"the same call resumes from {parsed.store}" if parsed.store else "with --store FOLDER it could resume"
        print(f"\nsbnn report: interrupted; {kept}", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        print(f"sbnn report: {error}", file=sys.stderr)
        return 1
    return 0


def _parser():
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="sbnn", description="Sparse bottleneck neural networks for paired data.")
    parser.add_argument("--version", action="version", version=f"sbnn {sbnn.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    report = commands.add_parser(
        "report",
        help="from tables to an answer in plain words, one HTML file",
        description="Can the features of cells be told from their genes, better than from the class, with which genes, "
        "and how sure? Writes one HTML file with the answer, scores, genes and an interactive map, and tables as CSV.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument(
        "files", nargs="+", metavar="FILE", help="counts and features as CSV (.gz), or one .h5ad or .h5mu"
    )
    report.add_argument(
        "-o", "--output", default=DEFAULT_PATH, metavar="FILE", help="the report (default: %(default)s)"
    )
    cells = report.add_argument_group("what is known about the cells")
    cells.add_argument("--cells", metavar="FILE", help="table of cells as CSV; one of its columns names them")
    cells.add_argument(
        "--donors", metavar="COLUMN", help="animal, or person, of each cell: folds then keep their cells together"
    )
    cells.add_argument("--types", metavar="COLUMN", help="type of each cell")
    cells.add_argument("--families", metavar="COLUMN", help="family of each cell: coarser than the type")
    _add_reading(report)
    run = report.add_argument_group("what is computed")
    run.add_argument("--mode", choices=list(MODES), default="quick", help="(default: %(default)s)")
    run.add_argument("--store", metavar="FOLDER", help="keep finished fits: the same call resumes from there")
    run.add_argument("--seed", type=int, default=42, metavar="N", help="of folds and networks (default: %(default)s)")
    run.add_argument("--jobs", type=int, metavar="N", help="processes (default: what is fastest)")
    run.add_argument("--quiet", action="store_true", help="no progress bars, and no answer on the screen")
    return parser


def _add_reading(report):
    """Add the options that say how the data are read."""
    data = report.add_argument_group("how the data are read")
    data.add_argument(
        "--genes", default="1000", metavar="N", help='most variable genes, or "all" (default: %(default)s)'
    )
    data.add_argument(
        "--threshold",
        type=float,
        metavar="COUNT",
        help="a gene is detected with more counts than this: 30 for reads, 0 for UMIs (default: as counts look)",
    )
    data.add_argument(
        "--transform",
        metavar="FEATURES",
        default="auto",
        help='"auto" (default): logarithms of skewed features; or names, separated by commas; or "none"',
    )
    data.add_argument(
        "--genes-as-rows", action="store_true", help="counts have a row per gene, even if cells do not tell"
    )
    data.add_argument(
        "--features", metavar="KEY", help="of an .h5ad: key of obsm, or columns of obs, separated by commas"
    )
    data.add_argument("--counts", metavar="LAYER", help='layer with counts (default: "counts" if there is one, else X)')
    data.add_argument("--modalities", default="rna,ephys", metavar="X,Y", help="of an .h5mu (default: %(default)s)")
    data.add_argument("--name", help="of the data set, for the title")


def _report(parsed, command):
    """Read the cells, write the report, and print the answer."""
    matplotlib.use("Agg")  # no window is opened
    with warnings.catch_warnings():
        warnings.showwarning = _show
        found = read_cells(parsed)
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)
        written = write_report(
            found.data,
            parsed.output,
            mode=parsed.mode,
            folds=None,
            transform=None,  # logarithms were taken when the tables were read
            detection_threshold=found.detection_threshold,
            store=parsed.store,
            random_state=parsed.seed,
            n_jobs=parsed.jobs,
            progress=not parsed.quiet,
            snippet=_snippet(parsed, found),
            command=command,
            notes=found.notes,
        )
    if not parsed.quiet:
        print(written)


def _show(message: Warning | str, category: type[Warning], *_: Any) -> None:
    """Print a warning without the line of code that it comes from."""
    print(f"note: {message}", file=sys.stderr)


def _snippet(parsed: argparse.Namespace, found: Read) -> str:
    """Return Python that makes the same report."""
    settings = {"mode": parsed.mode, "detection_threshold": found.detection_threshold, "store": parsed.store}
    settings["random_state"] = parsed.seed
    return f"{found.snippet}\nprint({call_of_report(parsed.output, settings)})"
