"""The generated sample of the demo."""
