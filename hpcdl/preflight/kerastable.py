"""What Keras 3 no longer accepts: arguments, methods and endings, with what to write instead."""

from __future__ import annotations

import re

OPTIMIZERS = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Nadam", "RMSprop", "SGD")
MAKES_A_MODEL = ("Sequential", "Model", "load_model", "clone_model", "model_from_json")
LIKE_A_MODEL = re.compile(
    r"(?i)model|network|^c?nn$|(^|[a-z_])net$|autoencoder|classifier|discriminator|generator$"
)
MODEL_FILES = (".keras", ".h5", ".hdf5")
WEIGHT_FILES = {
    "save_weights": (".weights.h5",),
    "load_weights": (*MODEL_FILES, ".weights.json"),
}
# Most were tried with Keras 3.15 and TensorFlow 2.21. The arguments of fit, predict and
# ModelCheckpoint, and those of Keras 1, come from the signatures. Those of Keras 2 were not tried;
# their source is https://github.com/keras-team/keras, v2.11.0,
# keras/optimizers/optimizer_experimental/optimizer.py
NO_ARGUMENTS = {
    "callbacks.ModelCheckpoint": {
        "period": "use save_freq='epoch', or take it out",
        "load_weights_on_restart": "take it out, and call load_weights",
        "options": "take it out",
        "save_format": "take it out: the file's ending says it",
    },
    "callbacks.EarlyStopping": {"epsilon": "write min_delta"},
    "keras.Model": {"input": "write inputs", "output": "write outputs"},
    "models.Model": {"input": "write inputs", "output": "write outputs"},
    "models.load_model": {"options": "take it out"},
    "regularizers.l1": {"l": "write l1"},
    "regularizers.l2": {"l": "write l2"},
    "optimizers.Nadam": {"schedule_decay": "take it out"},
    "layers.BatchNormalization": {"mode": "take it out"},
    "callbacks.TensorBoard": {
        "batch_size": "take it out",
        "write_grads": "take it out",
        "embeddings_layer_names": "take it out",
        "embeddings_data": "take it out",
    },
    "utils.to_categorical": {
        "dtype": "take it out, and convert the result with astype",
        "y": "write x",
    },
}
# The same classes under two names: tf.optimizers.Adam is tf.keras.optimizers.Adam
ALSO_IN_TENSORFLOW = ("optimizers", "losses")
LAYER_ARGUMENTS = {
    "batch_input_shape": "begin the model with tf.keras.Input(batch_shape=...)",
    "border_mode": "write padding",
    "subsample": "write strides",
    "init": "write kernel_initializer",
    "output_dim": "write units",
    "W_regularizer": "write kernel_regularizer",
    "fused": "take it out",
    "b_regularizer": "write bias_regularizer",
    "bias": "write use_bias",
    "dim_ordering": "write data_format",
    "dynamic": "take it out",
    "inner_activation": "write recurrent_activation",
    "time_major": "take it out, and give the layer (batch, time, features)",
    "virtual_batch_size": "take it out",
    "weights": "take it out, and call layer.set_weights once the model is built",
    "batch_size": "begin the model with tf.keras.Input(shape=..., batch_size=...)",
    "nb_filter": "write filters",
    "nb_row": "write kernel_size=(rows, columns)",
    "p": "write rate",
}
# Layers that do accept an argument with one of these names
LAYERS_TAKE = {
    "Embedding": ("output_dim", "weights"),
    "Bidirectional": ("weights",),
    "Input": ("batch_size",),
    "InputLayer": ("batch_size", "batch_input_shape"),
}
OF_GENERATORS = dict.fromkeys(
    ("workers", "use_multiprocessing", "max_queue_size"),
    "take it out, or give it to the PyDataset that is passed as x",
)
METHOD_ARGUMENTS = {
    "compile": {
        "sample_weight_mode": "take it out: weights may have a time axis",
        "target_tensors": "take it out, and give y to fit",
        "experimental_run_tf_function": "take it out",
        "class_mode": "take it out: the loss says it",
    },
    "fit": {
        **OF_GENERATORS,
        "nb_epoch": "write epochs",
        "samples_per_epoch": "write steps_per_epoch, which counts batches",
        "show_accuracy": "write metrics=['accuracy'] in compile",
    },
    "evaluate": {**OF_GENERATORS, "show_accuracy": "write metrics=['accuracy'] in compile"},
    "train_on_batch": {"reset_metrics": "take it out, and call model.reset_metrics()"},
    "test_on_batch": {"reset_metrics": "take it out, and call model.reset_metrics()"},
    "predict": OF_GENERATORS,
    "save": dict.fromkeys(
        ("signatures", "save_traces", "options"), "use model.export for a SavedModel"
    ),
    "save_weights": {
        "save_format": "take it out: the file's ending says it",
        "options": "take it out",
    },
}
NO_METHODS = {
    "fit_generator": "use fit, which takes generators",
    "evaluate_generator": "use evaluate, which takes generators",
    "predict_generator": "use predict, which takes generators",
    "predict_classes": "use predict(x).argmax(axis=-1)",
    "predict_proba": "use predict",
    "to_yaml": "use to_json",
}
SINCE_KERAS_2 = ("predict_classes", "predict_proba")  # they left with TensorFlow 2.6
