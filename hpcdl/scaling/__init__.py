"""How a training's speed grows with its GPUs: what short runs measured, and what it says."""
