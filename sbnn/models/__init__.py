"""The network, its training, its engine; reduced-rank regression."""
