"""The tfmot front: tf_keras models, quantized through tensorflow-model-optimization."""
