"""Damage result files, model files and stores at random, and check that each is either refused or read.

Files are mutated as by damage, carelessness and malice: bytes and runs of bytes are changed, cut, doubled and swapped,
numbers replaced by extreme ones, instructions of pickles inserted, members of a zip changed and their checksum
corrected. Every file is read in a process with limited memory, and the outcome is counted: read, or refused with the
documented error (ValueError). Anything else is a failure: another error, a crash, a gigabyte, five seconds.

Usage: python benchmarks/fuzz_files.py [--results 10000] [--models 2000] [--stores 500] [--seed 0]
"""

import argparse
import multiprocessing
import os
import pickle
import pickletools
import resource
import shutil
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from sbnn import (
    PairedModel,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    load_model,
    load_results,
    save_results,
    simulate_patchseq,
)
from sbnn.models.schedules import SCHEDULES

#: Bytes that reading a file may take, in addition to those of the process.
MEMORY = 2**30
#: Seconds.
TIME = 5
#: Bytes with a special meaning in pickles, zips and arrays.
SPECIAL = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\xff" * 8, b"NaN", b"1e999", b"[" * 400)
INSTRUCTIONS = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]


class Reduced:
    """Pickled as a call of any function with any arguments."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        """Name the call."""
        return self.call


def mutated(content, random):
    """Return bytes changed in one to eight places."""
    content = bytearray(content)
    for _ in range(random.integers(1, 9)):
        place = int(random.integers(len(content) + 1))
        length = int(min(random.geometric(0.05), len(content)))
        other = int(random.integers(max(1, len(content) - length)))
        piece = bytes(content[other : other + length])
        change = random.integers(8)
        if change == 0 and content:
            content[place % len(content)] ^= 1 << int(random.integers(8))
        elif change == 1:
            content[place : place + length] = random.bytes(length)
        elif change == 2:
            del content[place : place + length]
        elif change == 3:
            content[place:place] = piece
        elif change == 4:
            content[place : place + length] = piece
        elif change == 5:
            special = SPECIAL[random.integers(len(SPECIAL))]
            content[place : place + len(special)] = special
        elif change == 6:
            content[place:place] = INSTRUCTIONS[random.integers(len(INSTRUCTIONS))]
        else:
            del content[max(1, place) :]
    return bytes(content)


def hostile_pickles():
    """Malicious pickles, each embedded in a result."""
    nested = []
    for _ in range(30):
        nested = [nested, nested]
    objects = [
        Reduced(os.system, "touch harm"),
        Reduced(np.ndarray, (1,), "O", b"A" * 8),
        Reduced(np.ndarray, (2**30,), "f8"),
        Reduced(np.dtype, {"names": ["a"], "formats": ["O"], "offsets": [10**6]}),
        Reduced(np._core.multiarray._reconstruct, np.ndarray, (3,), b"O"),
        Reduced(np._core.multiarray.scalar, np.dtype("O"), b"A" * 8),
        np.array([object], dtype=object),
        nested,
        10**5000,
    ]
    for value in objects:
        yield pickle.dumps({"format": "sbnn results", "schema_version": 1, "value": value, "tables": {}}, protocol=4)
        yield pickle.dumps({"format": "sbnn results", "schema_version": 1, "tables": {"t": {"a": value}}}, protocol=4)
    yield b"\x80\x04" + b"r\xff\xff\xff\xff" * 3
    yield b"\x80\x04Nr\xff\xff\xff\xff."
    yield b"\x80\x04\x8e\xff\xff\xff\xff\x00\x00\x00\x00."
    yield b"\x80\x04\x8b\xff\xff\xff\x7f."
    yield b"\x80\x04" + b"]" * 2_000_000 + b"."
    yield b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b"."
    yield b"\x80\x04](h\x00e."
    yield b"\x80\x04]\x94h\x00a."


def mutated_results(folder, random, number):
    """Write mutated result files; yield their paths."""
    data, _ = simulate_patchseq(n_cells=60, n_genes=20, n_features=4, n_informative=5, random_state=0)
    cv = cross_validate(data, {"sRRR-2": ReducedRankRegressor(2, 0.1)}, progress=False)
    content = save_results(folder / "result.pickle", cv, note={"a": [1, 2.5, None, "x"]}).read_bytes()
    content = content.rpartition(b"\nsha256 ")[0]  # the checksum would answer for the reader
    hostile = list(hostile_pickles())
    for index in range(number):
        base = hostile[index] if index < len(hostile) else None
        if base is None:
            base = mutated(hostile[random.integers(len(hostile))] if random.random() < 0.1 else content, random)
        path = folder / f"{index}.pickle"
        path.write_bytes(base)
        yield path


def mutated_models(folder, random, number):
    """Write mutated model files: bytes of the file, or of one of its members with a correct checksum."""
    data, _ = simulate_patchseq(n_cells=60, n_genes=20, n_features=4, n_informative=5, random_state=0)
    schedule = SCHEDULES["fast"].shortened(0.05)
    estimators = [
        ReducedRankRegressor(2, 0.1),
        SparseBottleneckRegressor(hidden=(8, 4), n_selected=5, schedule=schedule),
    ]
    paths = [PairedModel(one).fit(data).save(folder / f"{place}.sbnn") for place, one in enumerate(estimators)]
    for index in range(number):
        source, path = paths[index % 2], folder / f"{index}.mutated.sbnn"
        if random.random() < 0.3:
            path.write_bytes(mutated(source.read_bytes(), random))
        else:
            with zipfile.ZipFile(source) as file:
                members = {name: file.read(name) for name in file.namelist()}
            chosen = str(random.choice(list(members)))
            members[chosen] = mutated(members[chosen], random)
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                for name, value in members.items():
                    file.writestr(name, value)
        yield path


def mutated_stores(folder, random, number):
    """Copy a finished store and mutate, drop, copy or swap its files."""
    complete = folder / "complete"
    validated(complete)
    names = sorted(str(path.relative_to(complete)) for path in complete.rglob("*.pickle"))
    for index in range(number):
        path = folder / f"store{index}"
        shutil.copytree(complete, path)
        one, other = (path / str(name) for name in random.choice(names, 2))
        change = random.integers(4)
        if change == 0:
            one.write_bytes(other.read_bytes())
        elif change == 1:
            one.unlink()
        else:
            one.write_bytes(mutated(one.read_bytes(), random))
        yield path


def validated(store):
    """Cross-validate something small in a store; return its scores."""
    data, _ = simulate_patchseq(n_cells=60, n_genes=20, n_features=4, n_informative=5, random_state=0)
    models = {"sRRR-2": [ReducedRankRegressor(2, alpha) for alpha in (0.1, 0.2)]}
    return cross_validate(data, models, store=store, progress=False).scores


def read_model(path):
    """Load a model and use it: what is read must predict finite numbers, the same as before it was saved."""
    model = load_model(path)
    data, _ = simulate_patchseq(n_cells=60, n_genes=20, n_features=4, n_informative=5, random_state=0)
    cells = pd.DataFrame(data.counts, index=data.cell_names, columns=data.gene_names)
    predictions = model.predict(cells.reindex(columns=model.gene_names_, fill_value=1))
    if not np.isfinite(predictions.to_numpy()).all():
        raise AssertionError("a model that was read predicts values that are not finite")
    return predictions


READERS = {"results": load_results, "models": read_model, "stores": validated}
WRITERS = {"results": mutated_results, "models": mutated_models, "stores": mutated_stores}


def _serve(kind, connection):
    """Read the named files one after another with little memory, and report the outcome of each."""
    warnings.simplefilter("ignore")
    if kind == "models":
        import sbnn.models.backend  # noqa: F401 - its threads allocate memory before it is limited
    used = _peak()
    with open("/proc/self/statm") as status:
        mapped = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    expected = validated(None) if kind == "stores" else None
    while (path := connection.recv()) is not None:
        begin = time.process_time()  # another process may occupy the cores
        try:
            found = READERS[kind](path)
            outcome = "read"
            # A model of a path that is refitted alone has another warm start, and other last digits.
            if expected is not None and not np.allclose(found["r2_test"], expected["r2_test"], atol=1e-6):
                outcome = "WRONG: a store gives another table"
        except ValueError:
            outcome = "refused"
        except BaseException as error:  # any failure is to be found
            outcome = f"FAILED: {type(error).__name__}: {str(error)[:100]}"
        connection.send((outcome, time.process_time() - begin, _peak() - used))


def _peak():
    """Peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Reader:
    """A process that reads files; restarted after a crash or a file that takes too long."""

    def __init__(self, kind):
        self.kind, self.process = kind, None

    def read(self, path):
        """Return the result for a file: the outcome, seconds, and peak bytes of the process."""
        if self.process is None:
            self._start()
        self.connection.send(path)
        try:
            if not self.connection.poll(20 * TIME):
                outcome = "FAILED: it hangs", 20 * TIME, 0
            else:
                return self.connection.recv()
        except EOFError:
            self.process.join()
            outcome = f"CRASHED: exit code {self.process.exitcode}", 0, 0
        self.close()
        return outcome

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(self.kind, theirs))
        self.process.start()
        theirs.close()

    def close(self):
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def fuzz(kind, number, seed=0):
    """Read `number` mutated files of a kind.

    Returns
    -------
    Series
        How often each outcome occurred; `slowest` seconds and `peak` bytes in its attributes.
    """
    outcomes, slowest, peak = Counter(), 0.0, 0
    reader = Reader(kind)
    with tempfile.TemporaryDirectory() as folder:
        for path in WRITERS[kind](Path(folder), np.random.default_rng(seed), number):
            outcome, seconds, bytes_ = reader.read(path)
            if seconds > TIME:
                outcome = f"SLOW: {seconds:.1f} s"
            if outcome not in ("read", "refused"):
                outcome = f"{outcome} ({path.name})"
            outcomes[outcome] += 1
            slowest, peak = max(slowest, seconds), max(peak, bytes_)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    reader.close()
    counts = pd.Series(outcomes, dtype=int).sort_values(ascending=False)
    counts.attrs = {"slowest": slowest, "peak": peak}
    return counts


def main():
    """Print the counts of all kinds; exit with 1 if anything but "read" and "refused" occurred."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, number in (("results", 10_000), ("models", 2000), ("stores", 500)):
        parser.add_argument(f"--{kind}", type=int, default=number)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    failed = False
    for kind in READERS:
        counts = fuzz(kind, getattr(arguments, kind), arguments.seed)
        shown = ", ".join(f"{outcome} {number}" for outcome, number in counts.items())
        print(f"{kind}: {shown}; slowest {counts.attrs['slowest']:.2f} s, peak {counts.attrs['peak'] / 2**20:.0f} MiB")
        failed |= not set(counts.index) <= {"read", "refused"}
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
