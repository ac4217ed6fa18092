"""What is done to sounds inside a TensorFlow graph: a served model's, or a `tf.data` pipeline's."""
