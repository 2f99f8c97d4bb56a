"""Report, after `make figures`, on which data each notebook ran and where the figures are.

Usage: python scripts/say_what_ran.py FOLDER_OF_EXECUTED_NOTEBOOKS
"""

import sys
from pathlib import Path

import nbformat


def printed(path):
    """Return everything a notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def main():
    """Print one line per notebook."""
    for path in sorted(Path(sys.argv[1]).glob("*.ipynb")):
        text = printed(path)
        data = "real data"
        if "USES SIMULATED DATA" in text:
            data = "SIMULATED data (the real files were not available)"
        elif path.stem == "latent_visualisation" or "CANNOT BE LOADED" in text:
            data = "the results in KerasSavedModels/"
        loaded = text.count("Loaded KerasSavedModels/")
        loaded = f"; {loaded} result(s) taken from disk" if loaded else ""
        print(f"{path.name}: ran on {data}{loaded}")
    print("figures: figures/; executed notebooks:", sys.argv[1])


if __name__ == "__main__":
    main()
