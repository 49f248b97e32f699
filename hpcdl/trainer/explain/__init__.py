"""Where a model looks: heat maps of images, and how far hiding their hottest part changes it."""
