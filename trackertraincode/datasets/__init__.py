"""HDF5 files of samples: storage, reading and writing, the catalog of names, mixtures."""
