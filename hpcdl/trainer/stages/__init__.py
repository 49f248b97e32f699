"""The stages of a training: devices, inputs, building, fitting, testing, saving."""
