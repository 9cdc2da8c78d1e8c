"""Worker processes of a dask scheduler, on this machine or others that see the same files.

    items --submit, a few ahead--> scheduler --> workers --results, in the order of the items--> this process

dask.distributed is pure Python, has launchers for SLURM, Kubernetes and clouds, moves tasks of a worker that died to
another one, and gives a `concurrent.futures` executor: nothing here schedules, tries again or moves files.
"""
