"""One module per verb; each is named as the function that calls it."""
