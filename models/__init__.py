"""The networks, as Keras models; they know nothing of this project's data or settings."""
