"""The fixed words of a report: names of models, limits of what it says, and a glossary."""

from sbnn.reporting.contest import Splits
from sbnn.reporting.modes import Mode

#: What each model is, in one line.
MODELS = {
    "family mean": "the mean of the training cells of the same family; reads a label, no gene",
    "type mean": "the mean of the training cells of the same type; reads a label, no gene",
    "family mean, shrunken": "the same, of a family with few cells drawn towards the mean of all cells",
    "type mean, shrunken": "the same, of a type with few cells drawn towards the mean of all cells",
    "family + type": "the mean of the type; where it has few cells, drawn towards that of the family, and this towards "
    "the mean of all cells; reads labels, no gene",
    "family + genes": "a linear model of the family and of all genes; reads a label and genes",
    "type + genes": "a linear model of the type and of all genes; reads a label and genes",
    "family + type + genes": "a linear model of family, type and of all genes; reads labels and genes",
    "sRRR-2": "sparse reduced-rank regression: a few genes, combined linearly to a map of two dimensions",
    "ridge": "a linear model of all genes, with a penalty on large weights",
    "sBNN-2": "sparse bottleneck neural networks: a few genes, a map of two dimensions, features from the map; the "
    "mean of several networks with one set of genes, whose settings follow the number of cells",
    "sBNN-64": "the same with 64 dimensions in place of two: predicts more, draws no map",
    "extra trees": "the mean of many random decision trees, on all genes",
}

GLOSSARY = {
    "R²": "the share of the variance of the features that is predicted: 1 is perfect, 0 is no better than the mean "
    "of the training cells, below 0 is worse than that. All features are z-scored and pooled, unless one is named.",
    "Held-out cells": "cells that a model has not seen when it was fitted. All scores here are of these.",
    "Donor": "the animal, or person, that a cell comes from. Cells of one donor are never divided by folds of donors.",
    "Fold": "one division of the cells into training and held-out ones. Each cell is held out in one of the folds.",
    "Nested": "settings such as penalties are chosen on inner folds of the training cells, by the one-standard-error "
    "rule (the simplest setting within one standard error of the best). Held-out cells take no part in that, nor in "
    "the fit.",
    "95 % interval": "from resamples of the donors (or cells), widened as by Student's t where these are few. Of a "
    "difference: if it includes 0, the two cannot be told apart.",
    "Class mean": "each cell is predicted by the mean of its family or type. What genes are to be compared with.",
    "R² within classes": "R² after the mean of each class has been subtracted from features and predictions: what "
    "genes tell beyond the class.",
    "Gain over the class": "R² of a linear model of classes and genes, minus R² of the best model of classes alone, "
    "among which is the same model without genes.",
    "Map": "the bottleneck of a model with two dimensions: each cell has two numbers, from which its features are "
    "predicted.",
    "Frequency": "the share of the folds (of networks: and of the single networks, which differ in their seed) that "
    "select a gene.",
    "Substitutes": "genes that are selected more often where a gene is not; with a high correlation of expression "
    "they carry much the same information.",
    "Nogueira index": "how stable a selection of genes is: 1 if every run selects the same, about 0 if at random.",
    "Importance": "how much R² on held-out cells drops when the values of a gene are exchanged among them. q is the "
    "p value of no drop, corrected for the number of genes and features.",
    "Coverage": "the share of the features of held-out cells that lie inside of their prediction interval; it should "
    "be near the 90 % that were asked for. Width is in standard deviations of the feature.",
    "Stages of a network": "pretrained (learns groups of similar cells), frozen (learns the features, its first "
    "layers fixed), finetuned (all layers), pruned (reads only the selected genes; the final single network), "
    "consensus (one map from all networks), ensemble (the mean prediction of all: the final model).",
}


def limits(splits: Splits, mode: Mode, chosen_genes: bool) -> list[str]:
    """Return what the numbers of a report do not say.

    Parameters
    ----------
    splits : Splits
    mode : Mode
    chosen_genes : bool
        Whether the data hold counts, so that their genes may have been chosen as variable among all.

    Returns
    -------
    list of str
    """
    found = [
        "Cells are those of one data set: in another laboratory, species or temperature a model may fail. "
        "PairedModel.shift(new_cells) tests whether new cells are of the same kind.",
        "A gene that predicts is not a cause. Correlated genes stand in for one another, and which of them a model "
        "reads is partly chance: see frequencies and substitutes.",
        "Classes are mostly assigned from all genes of a cell, before this report: their means know more than the "
        "genes that a sparse model reads.",
        "Intervals resample what was predicted; they do not include how models change with other training cells. Of "
        "several models, features or genes the best is flattered.",
        "Settings were chosen for R², not for a stable map: the map of another fold, or seed, differs.",
    ]
    if chosen_genes:
        found.append(
            "If the genes were chosen as the most variable ones, that was done on all cells; it does not use the "
            "features."
        )
    if not splits.by_donor:
        found.append("Scores are for further cells of the same donors; in other donors they may be lower.")
    if mode.name == "quick":
        found.append(
            "This is the quick report: fewer folds, settings and permutations, no fits with other seeds or donors. "
            'mode="full" (on the command line --mode full) has them, and takes about an hour or more.'
        )
    return found
