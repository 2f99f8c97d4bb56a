"""Cells: PairedData, preprocessing, tables and AnnData in and out, data sets by name, downloads, simulation."""
