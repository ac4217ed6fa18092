"""A distiller's teacher and student alone, compiled as in a training step.

One function a backend; each takes our distiller, images and labels, and returns a dict of functions `call(last)`,
which wait for all that was asked for where `last` is true.
"""

TEACHER, STUDENT = "teacher forward", "student forward and backward"


def tensorflow(ours, images, labels):
    import tensorflow as tf

    def compiled(function):
        return tf.function(function, jit_compile=ours.jit_compile)

    @compiled
    def student(images, labels, features):
        with tf.GradientTape() as tape:
            losses, _ = ours.student_losses(images, labels, None, features)
        return tape.gradient(losses["loss"], ours.trainable_variables)

    teacher = compiled(ours.teacher_features)
    features = ours.teacher_features(images)
    calls = {TEACHER: (teacher, (images,)), STUDENT: (student, (images, labels, features))}
    return _waiting(calls, lambda outputs: tf.test.experimental.sync_devices())


def jax(ours, images, labels):
    import jax
    import jax.numpy as jnp
    import keras

    def values(variables):
        return [jnp.array(variable.value) for variable in variables]  # copies: `fit` gives its own away

    def teacher(fixed, images):
        with keras.StatelessScope([*zip(ours.non_trainable_variables, fixed, strict=True)]):
            return ours.teacher_features(images)

    def loss(trainable, fixed, images, labels, features):
        known = zip(ours.non_trainable_variables, fixed, strict=True)
        with keras.StatelessScope([*known, *zip(ours.trainable_variables, trainable, strict=True)]):
            return ours.student_losses(images, labels, None, features)[0]["loss"]

    def compiled(function, arguments):
        return jax.jit(function).lower(*arguments).compile()

    trainable, fixed = values(ours.trainable_variables), values(ours.non_trainable_variables)
    run_teacher = compiled(teacher, (fixed, images))
    arguments = (trainable, fixed, images, labels, run_teacher(fixed, images))
    run_student = compiled(jax.grad(loss), arguments)
    calls = {TEACHER: (run_teacher, (fixed, images)), STUDENT: (run_student, arguments)}
    return _waiting(calls, jax.block_until_ready)


def torch(ours, images, labels):
    import torch

    def teacher():
        with torch.no_grad():
            return ours.teacher_features(images)

    features = teacher()

    def student():
        losses, _ = ours.student_losses(images, labels, None, features)
        ours.zero_grad()
        losses["loss"].backward()

    def wait(outputs):
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return _waiting({TEACHER: (teacher, ()), STUDENT: (student, ())}, wait)


def _waiting(calls, wait):
    def waiting(function, arguments):
        def call(last):
            outputs = function(*arguments)
            if last:
                wait(outputs)

        return call

    return {name: waiting(*call) for name, call in calls.items()}
