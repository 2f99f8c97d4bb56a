"""What the page of an interactive map embeds, decoded without its own code."""

import base64
import json
import re
import zlib

import numpy as np


def embedded(page):
    """Return header, column -> values, and names of cells of a page, decoded independently of the page's own code."""
    header = json.loads(re.search(r'<script type="application/json" id="header">(.*?)</script>', page, re.S)[1])
    packed = re.search(r'<script type="text/plain" id="content">(.*?)</script>', page, re.S)[1]
    content = zlib.decompress(base64.b64decode(packed, validate=True))
    n, bytes_from = header["n_cells"], header["start_of_bytes"]

    def codes(about):
        kind, start = ("<u2", about["start"]) if about["bits"] == 16 else ("u1", bytes_from + about["start"])
        return np.frombuffer(content, kind, n, start)

    def values(about):
        most = 2 ** about["bits"] - 2
        found = codes(about).astype(float)
        found[found > most] = np.nan
        return about["low"] + found / most * (about["high"] - about["low"])

    columns = {("map", one["name"]): values(one) for one in header["coordinates"]}
    columns |= {(one["group"], one["name"]): values(one) for one in header["values"]}
    columns |= {("class", one["name"]): np.array(one["labels"])[codes(one)] for one in header["classes"]}
    start = bytes_from + header["names"]["start"]
    return header, columns, json.loads(content[start : start + header["names"]["length"]])
