"""Which samples must stay together: those of one person, those of one sequence, and what these have in common."""

import numpy as np


def connected(sequences: np.ndarray, persons: np.ndarray) -> np.ndarray:
    """(N,) sequence and (N,) person of each sample, numbers below 0 for none -> (N,) number of its group, from 0.

    Two samples are of one group where a chain of common persons and sequences leads from one to the other.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    known_sequences, sequence = np.unique(sequences, return_inverse=True)
    known_persons, person = np.unique(persons, return_inverse=True)
    first_person = len(known_sequences)  # nodes of a graph: sequences, persons, samples
    first_sample = first_person + len(known_persons)
    person = first_person + person
    one = np.where(sequences >= 0, sequence, np.where(persons >= 0, person, first_sample + np.arange(len(sequences))))
    other = np.where(persons >= 0, person, one)
    nodes = first_sample + len(sequences)
    edges = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(nodes, nodes))
    return np.unique(connected_components(edges, directed=False)[1][one], return_inverse=True)[1]
