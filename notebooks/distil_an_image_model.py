# %% [markdown]
# # Distil an image model
#
# `keras_vitser.Distiller` is not only for speech: it teaches any functional Keras model from any other. Here a
# MobileNet of Keras Applications teaches a network a thirtieth of its size to read handwritten digits, through layers
# that lie inside nested models. Nothing is downloaded; it takes about a minute on two processor cores.

# %%
import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_vitser import Distiller
from keras_vitser.distillation import AttentionTransfer, Match, SoftLabels

# %% [markdown]
# ## Data
#
# 1797 real digits of 8x8 pixels, shipped with scikit-learn: 1200 to train on, 597 to test on, drawn at random with
# equal shares of each digit. The data does not say who wrote what, so the same hands stand on both sides: the scores
# say nothing about a new writer. Each training image comes four times, as it is and three times moved and turned a
# little. These are drawn once, so that the examples stay the same from epoch to epoch and the teacher can be cached.
# No choice below was made on the test part.


# %%
def digits():
    """`(train, test)`, each images `(n, 32, 32, 3)` in -1..1, as MobileNet takes them, and labels 0..9."""
    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 8, 8, 1).astype("float32") / 8 - 1
    images = keras.ops.convert_to_numpy(keras.ops.image.resize(images, (32, 32), data_format="channels_last"))
    x, x_test, y, y_test = train_test_split(
        np.repeat(images, 3, axis=-1), labels, test_size=597, stratify=labels, random_state=0
    )
    border = {"fill_mode": "constant", "fill_value": -1.0, "data_format": "channels_last"}
    vary = keras.Sequential(
        [keras.layers.RandomTranslation(0.1, 0.1, **border), keras.layers.RandomRotation(0.04, **border)]
    )
    varied = [keras.ops.convert_to_numpy(vary(x, training=True)) for _ in range(3)]
    return (np.concatenate([x, *varied]), np.tile(y, 4)), (x_test, y_test)


# %% [markdown]
# ## Two networks
#
# Both hide their layers in a nested model called `backbone`. There is no network here, so the teacher starts at
# random and learns first; where there is one, `weights="imagenet"` in place of `weights=None` works the same.


# %%
def classifier(backbone, name):
    images = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(backbone(images))
    return keras.Model(images, keras.layers.Dense(10, name="head")(pooled), name=name)


def build_teacher():
    backbone = keras.applications.MobileNet((32, 32, 3), alpha=0.25, include_top=False, weights=None, name="backbone")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # its 0.99 averages over hundreds of steps, a good part of this short training
    return classifier(backbone, "teacher")


def build_student():
    images = x = keras.Input((32, 32, 3))
    for block, width in enumerate((8, 16, 32), start=1):
        x = keras.layers.Conv2D(width, 3, 2, "same", "channels_last", activation="relu", name=f"block_{block}")(x)
    return classifier(keras.Model(images, x, name="backbone"), "student")


def learn_labels(network, x, y, epochs):
    network.compile(keras.optimizers.Adam(4e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return network


# %% [markdown]
# ## Distil
#
# A path of layers names what is inside a nested model. The first pair differs in width (128 and 32) and in size
# (2x2 and 4x4), so the Distiller puts a projection and an interpolation between them while it trains; they are
# no part of the student. The second compares only where the two look, the third what they say. The teacher
# runs once an image, not once an epoch: `cache_teacher=True`.


# %%
def distil(teacher, student, x, y, epochs):
    matches = [
        Match("backbone/conv_pw_11_relu", "backbone/block_3", name="feature_map"),
        Match("backbone/conv_pw_3_relu", "backbone/block_2", loss=AttentionTransfer(), name="attention"),
        Match("logits", "logits", loss=SoftLabels(4.0), name="soft_labels"),
    ]
    distiller = Distiller(teacher, student, matches=matches)
    distiller.compile(keras.optimizers.Adam(4e-3))
    return distiller.fit(x, y, batch_size=64, epochs=epochs, cache_teacher=True, verbose=0).history


# %% [markdown]
# ## Measure
#
# The student is trained twice from the same seed for the same epochs: on labels alone, and with the teacher. Digits
# this easy are learned well without a teacher too, so the two students may come out either way around; one image is a
# sixth of a percent. Compare several seeds before you believe a difference.


# %%
def accuracy(network, x, y):
    return float(np.mean(np.argmax(network.predict(x, verbose=0), axis=-1) == y))


def run(teacher_epochs=8, student_epochs=8, seed=0):
    """Trains all three; returns their test accuracies and sizes, and the distilled student's losses by epoch."""
    keras.utils.set_random_seed(seed)
    train, test = digits()
    teacher = learn_labels(build_teacher(), *train, teacher_epochs)
    keras.utils.set_random_seed(seed)
    alone = learn_labels(build_student(), *train, student_epochs)
    keras.utils.set_random_seed(seed)
    distilled = build_student()
    losses = distil(teacher, distilled, *train, student_epochs)
    networks = {"teacher": teacher, "student alone": alone, "student distilled": distilled}
    return {
        "accuracy": {name: accuracy(network, *test) for name, network in networks.items()},
        "parameters": {name: network.count_params() for name, network in networks.items()},
        "test_images": len(test[0]),
        "losses": losses,
    }


# %%
if __name__ == "__main__":
    result = run()
    for name, score in result["accuracy"].items():
        size = result["parameters"][name]
        print(f"{name:17} {size:7} parameters   {100 * score:5.1f} % of {result['test_images']} (chance 10.0 %)")
    for name, values in result["losses"].items():
        print(f"{name:17} {values[0]:.3f} -> {values[-1]:.3f}")
