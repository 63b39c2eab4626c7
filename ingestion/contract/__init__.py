"""The contract for producers: the tracking plan and the validation of each line."""
