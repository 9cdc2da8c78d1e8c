"""What happens beside the steps of a training; `run.make_callbacks` lists who is there, and in which order."""
