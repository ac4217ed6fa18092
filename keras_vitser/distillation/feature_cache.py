"""Teacher features that are computed once and travel beside the inputs.

Where the training pool is fixed (no augmentation drawn at run time), the teacher gives
the same feature each epoch; it then need not run in the step at all.
"""

_INPUTS = "inputs"
_FEATURES = "teacher_features"


def attach_teacher_features(inputs, features):
    """Makes the `x` of a batch that brings its teacher features along.

    Args:
        inputs: The student's inputs, `(batch, ...)`.
        features: The teacher's features of the same examples, `(batch, ...)`, as
            `Distiller.teacher_features` gives them.

    Returns:
        Dict to give to `Distiller.fit` as `x`, or from a dataset.

    Example:
        >>> import numpy as np
        >>> sorted(attach_teacher_features(np.zeros((4, 8)), np.zeros((4, 3))))
        ['inputs', 'teacher_features']
    """
    return {_INPUTS: inputs, _FEATURES: features}


def detach_teacher_features(x):
    """Returns `(inputs, features)`; features are `None` where `x` is plain inputs."""
    if isinstance(x, dict) and set(x) == {_INPUTS, _FEATURES}:
        return x[_INPUTS], x[_FEATURES]
    return x, None
