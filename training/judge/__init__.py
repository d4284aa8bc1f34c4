"""emoji-judge: a small detector that says what is in a picture of the world, and whether it is well formed."""
