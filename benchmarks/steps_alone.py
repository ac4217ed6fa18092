"""A distiller's teacher and student alone, run as in a training step, and the operations of these and of whole steps.

One function a backend; each takes our distiller, the built-in one, images and labels, and returns two dicts: functions
`call(last)`, which wait for all that was asked for where `last` is true, and counts of operations.
"""

import re

TEACHER, STUDENT = "teacher forward", "student forward and backward"
OURS, BUILT_IN = "ours", "built-in"


def tensorflow(ours, built_in, images, labels):
    """Counts the matrix products and convolutions of the graph that runs: Grappler's, or XLA's where it is on."""
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
    steps = {name: (compiled(of.train_step), ((images, labels),)) for name, of in ((OURS, ours), (BUILT_IN, built_in))}
    count = _xla_products if ours.jit_compile else _graph_products
    operations = {name: count(function, arguments) for name, (function, arguments) in {**calls, **steps}.items()}
    return _waiting(calls, lambda outputs: tf.test.experimental.sync_devices()), operations


def _graph_products(function, arguments):
    from tensorflow.python.eager import context

    function.get_concrete_function(*arguments)  # so that one graph is run, and for the first time: only then it is kept
    context.enable_graph_collection()
    function(*arguments)
    graphs = context.export_run_metadata().partition_graphs
    context.disable_graph_collection()
    nodes = [node for graph in graphs for part in (graph, *graph.library.function) for node in _nodes(part)]
    return sum(bool(re.search("MatMul|Einsum|Conv2D", node.op)) for node in nodes)


def _nodes(graph):
    return graph.node if hasattr(graph, "node") else graph.node_def


def _xla_products(function, arguments):
    text = function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    return len(re.findall(r' (?:dot|convolution)\(|custom_call_target="__(?:cublas|cudnn|triton_gemm)', text))


def jax(ours, built_in, images, labels):
    """Counts the compiled program's floating-point operations, as XLA knows them."""
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
    programs = {name: program for name, (program, _) in calls.items()}
    for name, of in ((OURS, ours), (BUILT_IN, built_in)):
        kinds = (of.trainable_variables, of.non_trainable_variables, of.optimizer.variables, of.metrics_variables)
        programs[name] = compiled(of.train_step, (tuple(map(values, kinds)), (images, labels)))
    operations = {name: program.cost_analysis()["flops"] for name, program in programs.items()}
    return _waiting(calls, jax.block_until_ready), operations


def torch(ours, built_in, images, labels):
    """Counts the floating-point operations of matrix products and convolutions, as PyTorch calls them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

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

    calls = {TEACHER: (teacher, ()), STUDENT: (student, ())}
    steps = {OURS: lambda: ours.train_step((images, labels)), BUILT_IN: lambda: built_in.train_step((images, labels))}
    operations = {}
    for name, function in {**{name: function for name, (function, _) in calls.items()}, **steps}.items():
        with FlopCounterMode(display=False) as counter:
            function()
        operations[name] = counter.get_total_flops()
    return _waiting(calls, wait), operations


def _waiting(calls, wait):
    def waiting(function, arguments):
        def call(last):
            outputs = function(*arguments)
            if last:
                wait(outputs)

        return call

    return {name: waiting(*call) for name, call in calls.items()}
