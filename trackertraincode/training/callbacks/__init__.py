"""What happens beside the steps of a training; `callbacks.all_of_run` in `run.py` lists who is there and in which order."""
