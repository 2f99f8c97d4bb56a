"""Files of exactly the layout of published ones that are not at hand, filled with simulated numbers."""

import gzip
import json

import numpy as np
from scipy.io import savemat

N_PRINCIPAL_COMPONENTS = 44  # the first 44 names of E_names.json; the other 24 are single measurements


def write_gouwens_file(path, feature_names, sample_ids, n_genes=1252, n_types=60, missing=16, random_state=0):
    """Write a MATLAB file like PS_v5_beta_0-4_pc_scaled_ipfx_eqTE.mat (method.md, section 2).

    Layout: T_dat (cells x 1252, log-normalised), E_pc_scaled (cells x 44) with pc_name, E_feature (cells x 24) with
    feature_name, gene_id, sample_id, cluster, cluster_id, cluster_color; 16 cells with a missing feature. Strings are
    padded character matrices, sample_id a cell array: both ways of MATLAB occur. Types lie on a plane of two latent
    coordinates, which genes and features follow.

    Returns the number of cells without a missing feature.
    """
    random = np.random.default_rng(random_state)
    names = list(json.loads(feature_names.read_text()))
    n_cells = len(sample_ids)
    subclasses = np.array(["Lamp5", "Pvalb", "Sncg", "Sst", "Vip"])[np.arange(n_types) % 5]
    types = np.array([f"{subclass} Gene{number:02d}" for number, subclass in enumerate(subclasses)])
    of_cell = random.integers(n_types, size=n_cells)
    Z = random.normal(scale=2, size=(n_types, 2))[of_cell] + random.normal(scale=0.6, size=(n_cells, 2))
    rates = np.maximum(Z @ random.normal(size=(2, n_genes)) * (np.arange(n_genes) < 100) + 3, 0)
    expression = np.maximum(rates + random.normal(scale=1.5, size=rates.shape), 0)
    features = np.tanh(Z @ random.normal(scale=0.6, size=(2, len(names)))) + random.normal(size=(n_cells, len(names)))
    for row in random.choice(n_cells, missing, replace=False):
        features[row, random.integers(len(names))] = np.nan
    content = {
        "T_dat": expression,
        "E_pc_scaled": features[:, :N_PRINCIPAL_COMPONENTS],
        "E_feature": features[:, N_PRINCIPAL_COMPONENTS:],
        "pc_name": np.array(names[:N_PRINCIPAL_COMPONENTS]),
        "feature_name": np.array(names[N_PRINCIPAL_COMPONENTS:]),
        "gene_id": np.array([f"Gene{number}" for number in range(n_genes)]),
        "sample_id": np.array(sample_ids, dtype=object),
        "cluster": types[of_cell],
        "cluster_id": of_cell[:, None],
        "cluster_color": np.array([f"#{random.integers(2**24):06X}" for _ in types])[of_cell],
    }
    savemat(path, content)
    return n_cells - missing


def write_rna_table(path, cells, n_human, n_mouse=30, random_state=0):
    """Write a table like GSE100866_CBMC_8K_13AB_10X-RNA_umi.csv.gz: genes x cells, comma separated.

    Layout: the human genes first, named HUMAN_..., among them the spike-in ERCC_ERCC-00104; then mouse genes,
    named MOUSE_...; the first column, without a name, holds the gene. Counts of molecules, mostly zero.
    """
    random = np.random.default_rng(random_state)
    rate = np.exp(random.uniform(-3, 2, (n_human + n_mouse, 1))) * random.gamma(0.3, 3, (n_human + n_mouse, len(cells)))
    names = [f"HUMAN_Gene{number}" for number in range(n_human - 1)]
    names.insert(n_human // 2, "ERCC_ERCC-00104")
    names += [f"MOUSE_Gene{number}" for number in range(n_mouse)]
    counts = random.poisson(rate)
    digits = np.array([str(count) for count in range(counts.max() + 1)], dtype=object)  # quicker than formatting each
    with gzip.open(path, "wt", compresslevel=1) as stream:
        stream.write(",".join(["", *cells]) + "\n")
        stream.writelines(f"{name},{','.join(digits[row])}\n" for name, row in zip(names, counts, strict=True))
