"""Public archives to sample files.

archive --one module per data set: items--> worker processes: item -> Samples --journal--> PoseWriter --> file
"""
