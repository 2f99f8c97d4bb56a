"""Patch-seq of mouse visual cortex (Gouwens et al. 2020), from the MATLAB file of the Allen Institute."""

import json

import numpy as np
import pandas as pd
from scipy.io import loadmat

from sbnn._checks import preview, warn
from sbnn._hints import PathLike
from sbnn.data.cell_labels import modal_colors
from sbnn.data.count_tables import require_columns
from sbnn.data.paired_data import PairedData
from sbnn.data.preprocessing import Preprocessor
from sbnn.data.sources import find_file

#: Required content of the MATLAB file: key -> number of dimensions.
MAT_KEYS = {
    "T_dat": 2, "E_pc_scaled": 2, "pc_name": 1, "E_feature": 2, "feature_name": 1, "gene_id": 1, "sample_id": 1,
    "cluster": 1, "cluster_id": 1, "cluster_color": 1,
}  # fmt: skip

#: Features that the paper leaves out.
DROPPED_FEATURES = (
    "spc0 spk. fast trough v",
    "long sq. stim. amp.",
    "spc1 step subthr.",
    "spc1 subthr. norm",
    "long sq. AP1 up-down ratio",
    "long sq. AP1 peak v",
    "long sq. AP1 threshold v",
    "long sq. AP1 width",
    "short sq. AP1 width",
    "spc1 inst. freq.",
    "spc3 inst. freq.",
    "long sq. AP1 downstroke",
    "spc2 inst. freq.",
)

_FILE = "gouwens_2020/PS_v5_beta_0-4_pc_scaled_ipfx_eqTE.mat"
_FEATURE_NAMES = "gouwens_2020/E_names.json"
_METADATA = "gouwens_2020/20200711_patchseq_metadata_mouse.csv"


def load_gouwens(data_dir: PathLike | None = None) -> PairedData:
    """Load 3395 interneurons of mouse visual cortex: 1252 genes, 55 features.

    Expression is log-normalised in the file; features are sparse principal components of traces ("spc") and single
    measurements; both are z-scored. Left out: the 16 cells with a missing feature, then DROPPED_FEATURES. Families
    are the first words of the types; donors are from the metadata table.

    Parameters
    ----------
    data_dir : path-like, optional

    Returns
    -------
    PairedData
        Without counts: the file has none.

    Raises
    ------
    ValueError
        The file lacks a key, or its parts do not match; features have no name, or those to drop are missing.
    """
    content = _read_mat(data_dir)
    features = _features_of(content, data_dir)
    complete = features.notna().all(axis=1).to_numpy()
    features = features[complete].drop(columns=list(DROPPED_FEATURES))
    expression = content["T_dat"][complete]
    types = content["cluster"][complete]
    families = np.array([name.split()[0] for name in types])
    type_colors = dict(zip(types.tolist(), content["cluster_color"][complete].tolist(), strict=True))
    preprocessor = Preprocessor().fit(
        expression=expression, features=features, gene_names=content["gene_id"], feature_names=features.columns
    )
    return PairedData(
        X=preprocessor.transform_genes(expression=expression),
        Y=preprocessor.transform_features(features),
        gene_names=content["gene_id"],
        feature_names=features.columns,
        cell_names=features.index,
        features=features,
        feature_units=(None,) * features.shape[1],
        cell_types=types,
        cell_families=families,
        type_colors=type_colors,
        family_colors=modal_colors(families, content["cluster_color"][complete]),
        donors=_donors(features.index, data_dir),
        name="gouwens_2020",
    )


def gouwens_features(data_dir: PathLike | None = None) -> pd.DataFrame:
    """Read all 68 features of all cells of the file.

    Parameters
    ----------
    data_dir : path-like, optional

    Returns
    -------
    DataFrame
        Cells x features, short names; missing values NaN.
    """
    return _features_of(_read_mat(data_dir), data_dir)


def _read_mat(data_dir):
    """Read the MATLAB file into arrays of numbers and of stripped strings, checked against each other."""
    path = find_file(_FILE, data_dir)
    try:
        content = loadmat(path, squeeze_me=True)
    except Exception as error:  # a broken file can raise nearly anything
        raise ValueError(f"{path} is not a readable MATLAB file ({type(error).__name__}: {error})") from None
    missing = [key for key in MAT_KEYS if key not in content]
    if missing:
        there = [key for key in content if not key.startswith("__")]
        raise ValueError(f"{path} lacks the key(s) {preview(missing)}; it holds {preview(there, 20)}")
    for key, dimensions in MAT_KEYS.items():
        value = content[key] = np.asarray(content[key])
        if value.ndim != dimensions:
            raise ValueError(f"{path}: {key} should have {dimensions} dimension(s), it has shape {value.shape}")
        if dimensions == 1 and key != "cluster_id":
            content[key] = np.array([str(text).strip() for text in value])
    n_cells = len(content["T_dat"])
    columns = {"T_dat": "gene_id", "E_pc_scaled": "pc_name", "E_feature": "feature_name"}
    expected = {matrix: (n_cells, len(content[names])) for matrix, names in columns.items()}
    expected |= {key: (n_cells,) for key in ("sample_id", "cluster", "cluster_id", "cluster_color")}
    for key, shape in expected.items():
        if content[key].shape != shape:
            raise ValueError(f"{path}: {key} should have shape {shape} to match the rest, it has {content[key].shape}")
    return content


def _features_of(content, data_dir):
    """Both tables of features side by side, with the names that the paper uses."""
    path = find_file(_FEATURE_NAMES, data_dir)
    short_names = json.loads(path.read_text())
    names = [*content["pc_name"], *content["feature_name"]]
    nameless = [name for name in names if name not in short_names]
    if nameless:
        raise ValueError(f"{path} gives no short name for the feature(s) {preview(nameless)}")
    table = pd.DataFrame(
        np.hstack([content["E_pc_scaled"], content["E_feature"]]).astype(np.float64),
        index=pd.Index(content["sample_id"], name="cell"),
        columns=[short_names[name] for name in names],
    )
    require_columns(table, DROPPED_FEATURES, _FILE)
    return table


def _donors(cells, data_dir):
    """Animals of cells; None, with a warning, if the metadata lacks a cell."""
    path = find_file(_METADATA, data_dir)
    table = pd.read_csv(path, dtype=str)
    require_columns(table, ["transcriptomics_sample_id", "donor_id"], path)
    donors = table.set_index("transcriptomics_sample_id")["donor_id"].reindex(cells)
    if donors.isna().any():
        warn(
            f"{path.name} does not name the animal of {int(donors.isna().sum())} cells "
            f"({preview(donors.index[donors.isna()], 3)}): donors are unknown, so folds by donor are not possible"
        )
        return None
    return donors.to_numpy()
