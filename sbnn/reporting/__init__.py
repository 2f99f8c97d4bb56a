"""The report: from paired data to an answer in plain words, as one HTML file that can be mailed to a colleague."""
