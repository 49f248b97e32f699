"""Every difference between Keras 2 and 3 (and TensorFlow 2.11 and later), one function each."""

from hpcdl.trainer.compat.metrics import build_metrics, metric_results
from hpcdl.trainer.compat.models import (
    depth,
    forget_compilation,
    forget_models,
    has_kernel,
    innermost_layers,
    is_compiled,
    load_model,
    model_file,
    never_drop,
    parameters,
    print_summary,
    reverse_channels,
    watched_calls,
)
from hpcdl.trainer.compat.multi_worker import (
    REGISTER_S,
    bound_waiting,
    check_several_workers,
    multi_worker_strategy,
)
from hpcdl.trainer.compat.optimizers import (
    add_up_gradients,
    build_optimizer,
    judge_all_replicas_together,
    learning_rate,
    set_learning_rate,
)
from hpcdl.trainer.compat.randomness import (
    random_states,
    seed_everything,
    seed_tracing,
    set_random_states,
    whole_numbers_apart,
)
from hpcdl.trainer.compat.variables import (
    Variable,
    average_replicas,
    kernels,
    name_of,
    optimizer_variables,
    tensorflow_variable,
    variables,
)
from hpcdl.trainer.compat.versions import is_keras_3, keras_version
from hpcdl.trainer.compat.weight_files import weights_from, weights_in

__all__ = [
    "REGISTER_S",
    "Variable",
    "add_up_gradients",
    "average_replicas",
    "bound_waiting",
    "build_metrics",
    "build_optimizer",
    "check_several_workers",
    "depth",
    "forget_compilation",
    "forget_models",
    "has_kernel",
    "innermost_layers",
    "is_compiled",
    "is_keras_3",
    "judge_all_replicas_together",
    "keras_version",
    "kernels",
    "learning_rate",
    "load_model",
    "metric_results",
    "model_file",
    "multi_worker_strategy",
    "name_of",
    "never_drop",
    "optimizer_variables",
    "parameters",
    "print_summary",
    "random_states",
    "reverse_channels",
    "seed_everything",
    "seed_tracing",
    "set_learning_rate",
    "set_random_states",
    "tensorflow_variable",
    "variables",
    "watched_calls",
    "weights_from",
    "weights_in",
    "whole_numbers_apart",
]
