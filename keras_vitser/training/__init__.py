"""What trains but does not distil: batches, epochs, checkpoints, a fit that goes on after a kill."""
