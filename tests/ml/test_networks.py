"""The architectures, without data."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ml import networks
from ml.config import TrainConfig

NAMES = tuple(networks.REGISTRY)


@pytest.fixture(autouse=True)
def _one_seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _batch(n: int = 3, size_px: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size_px, size_px), dtype=torch.uint8)


def _config(name: str, **fields: object) -> TrainConfig:
    return TrainConfig.model_validate({"network": name, "image_size_px": 32, **fields})


def test_every_network_of_the_configuration_is_in_the_registry() -> None:
    choices = TrainConfig.model_json_schema()["properties"]["network"]["enum"]
    assert set(choices) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 10])
def test_images_become_one_logit_for_each_class(name: str, classes: int) -> None:
    assert networks.build(_config(name), classes)(_batch()).shape == (3, classes)


@pytest.mark.parametrize("size_px", [16, 64, 100, 224])
def test_the_small_network_takes_every_image_size(size_px: int) -> None:
    network = networks.build(TrainConfig(network="cnn", image_size_px=size_px), 2)
    assert network(_batch(2, size_px)).shape == (2, 2)


def test_the_small_network_is_small() -> None:
    assert 300_000 < networks.count_parameters(networks.build(_config("cnn"), 2)) < 700_000


def test_normalisation_is_that_of_imagenet() -> None:
    grey_NCHW = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert networks.Normalize()(grey_NCHW).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v3_large"])
def test_a_feature_extractor_learns_only_its_classifier(name: str) -> None:
    network = networks.build(_config(name, initial_weights="imagenet"), 2)
    learning = [key for key, value in network.body.named_parameters() if value.requires_grad]
    assert learning
    assert all(key.startswith("classifier.") for key in learning)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v3_large"])
@pytest.mark.parametrize(
    ("fields", "learning"),
    [
        ({"trainable_stages": 0}, 0),
        ({"trainable_stages": 0, "unfreeze_epochs": 1}, 0),
        ({"trainable_stages": 2}, 2),
        ({"trainable_stages": 4, "layer_decay": 0.5}, 4),
        ({"layer_decay": 0.9}, 5),
        ({"unfreeze_epochs": 1}, 5),
    ],
)
def test_stages_of_mobilenet_learn_where_a_setting_of_the_stages_asks_for_it(
    name: str, fields: dict[str, object], learning: int
) -> None:
    config = TrainConfig.model_validate({"network": name, "initial_weights": "imagenet", **fields})
    network = networks.build(config, 2)
    depths = {networks.depth_of(config, key) for key, value in network.body.named_parameters() if value.requires_grad}
    assert depths == set(range(learning + 1))
    assert network.has_frozen_features == (learning == 0)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v3_large"])
def test_a_stage_of_mobilenet_is_what_works_at_one_resolution(name: str) -> None:
    network = networks.build(_config(name), 2).eval()
    found: dict[int, set[int]] = {}
    for number, block in enumerate(network.body.features):
        depth = networks.depth_of(_config(name), f"features.{number}.")
        block.register_forward_hook(lambda _, __, out, at=depth: found.setdefault(at, set()).add(out.shape[-1]))
    network(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
    assert found == {depth: {side} for depth, side in zip((5, 4, 3, 2, 1), (112, 56, 28, 14, 7), strict=True)}


@pytest.mark.parametrize(("stages", "first"), [(5, "conv1"), (4, "layer1"), (2, "layer3"), (0, "fc")])
def test_resnet18_learns_its_last_stages(stages: int, first: str) -> None:
    network = networks.build(_config("resnet18", initial_weights="imagenet", trainable_stages=stages), 2)
    learning = [key for key, value in network.body.named_parameters() if value.requires_grad]
    assert learning[0].startswith(first)
    assert learning[-1].startswith("fc")


def test_efficientnet_learns_its_last_stages() -> None:
    network = networks.build(_config("efficientnet_lite0", initial_weights="imagenet", trainable_stages=1), 2)
    learning = {key.rsplit(".", 1)[0] for key, value in network.body.named_parameters() if value.requires_grad}
    assert {"blocks.5.0.conv_dw", "blocks.6.0.conv_dw", "conv_head", "bn2", "classifier"} <= learning
    assert not any(key.startswith(("conv_stem", "bn1", "blocks.0", "blocks.4")) for key in learning)


def test_efficientnet_sees_pixels_between_minus_one_and_one() -> None:
    normalize = networks.build(_config("efficientnet_lite0"), 2).normalize
    pixels_NCHW = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert normalize(pixels_NCHW)[:, 0].flatten().tolist() == [-1, 1]


@pytest.mark.parametrize(
    "fields",
    [
        {"network": "mobilenet_v3_small"},
        {"network": "resnet18", "trainable_stages": 1},
        {"network": "efficientnet_lite0", "trainable_stages": 1},
    ],
)
def test_batch_norm_of_a_frozen_backbone_does_not_move(fields: dict[str, object]) -> None:
    network = networks.build(TrainConfig.model_validate({"initial_weights": "imagenet", **fields}), 2)
    frozen = [network.body.get_submodule(part) for part in network.frozen]
    before = [value.clone() for part in frozen for value in part.state_dict().values()]
    network.train()
    network(_batch())
    after = [value for part in frozen for value in part.state_dict().values()]
    assert before
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_without_initial_weights_nothing_is_frozen(name: str) -> None:
    network = networks.build(_config(name, trainable_stages=0), 2)
    assert not network.frozen
    assert all(value.requires_grad for value in network.parameters())


def test_batch_norm_of_a_learning_stage_does_move() -> None:
    network = networks.build(_config("resnet18", initial_weights="imagenet", trainable_stages=1), 2)
    before = network.body.get_buffer("layer4.0.bn1.running_mean").clone()
    network.train()
    network(_batch())
    assert not torch.equal(before, network.body.get_buffer("layer4.0.bn1.running_mean"))


def test_parameter_names_of_resnet18_are_those_of_torchvision() -> None:
    plain = networks.torchvision.models.resnet18(num_classes=2).state_dict()
    assert networks.build(_config("resnet18"), 2).body.state_dict().keys() == plain.keys()


@pytest.mark.parametrize("name", NAMES)
def test_features_and_their_logits_are_the_body(name: str) -> None:
    network = networks.build(TrainConfig.model_validate({"network": name}), 3).eval()
    halves, pixels_NCHW = network.halves, network.normalize(_batch(2, size_px=64))
    with torch.no_grad():
        features_NF = halves.features(network.body, pixels_NCHW)
        assert features_NF.ndim == 2
        torch.testing.assert_close(halves.logits(network.body, features_NF), network.body(pixels_NCHW))


def test_only_a_network_that_learns_nothing_before_its_classifier_has_frozen_features() -> None:
    def has_frozen_features(**fields: object) -> bool:
        return networks.build(TrainConfig.model_validate(fields), 2).has_frozen_features

    assert has_frozen_features(network="mobilenet_v3_small", initial_weights="imagenet")
    assert has_frozen_features(network="resnet18", initial_weights="imagenet", trainable_stages=0)
    assert not has_frozen_features(network="resnet18", initial_weights="imagenet", trainable_stages=1)
    assert not has_frozen_features(network="mobilenet_v3_small")
    assert not has_frozen_features(network="cnn")


def test_stages_wait_until_their_epoch_and_then_learn() -> None:
    config = TrainConfig.model_validate(
        {"network": "resnet18", "initial_weights": "imagenet", "trainable_stages": 3, "unfreeze_epochs": 2}
    )
    network = networks.build(config, 2).train()
    learning = []
    for epoch in (1, 2, 3, 5, 7, 9, 11):
        network.let_wait(networks.waiting_parts(config, epoch))
        names = {name.split(".")[0] for name, weight in network.body.named_parameters() if weight.requires_grad}
        learning.append(sorted(names))
        assert all(
            module.training == (name in names) for name, module in network.body.named_children() if "layer" in name
        )
    all_three = ["fc", "layer2", "layer3", "layer4"]
    assert learning == [["fc"], ["fc"], ["fc", "layer4"], ["fc", "layer3", "layer4"], all_three, all_three, all_three]


def test_every_weight_of_every_network_belongs_to_one_stage() -> None:
    for name, architecture in networks.REGISTRY.items():
        config = TrainConfig.model_validate({"network": name})
        depths = [networks.depth_of(config, key) for key, _ in networks.build(config, 2).body.named_parameters()]
        assert set(depths) == set(range(len(architecture.stages)))
        assert depths[-1] == 0


@pytest.mark.parametrize("shifted", [False, True])
def test_with_flips_an_image_and_its_mirror_image_get_the_same_answer(shifted: bool) -> None:
    network = networks.build(TrainConfig.model_validate({"flip_at_test": True, "shift_at_test": shifted}), 2).eval()
    images_NCHW = _batch(3, size_px=64)
    with torch.no_grad():
        torch.testing.assert_close(network(images_NCHW), network(images_NCHW.flip(3)))


def test_the_answer_is_the_mean_over_the_image_its_mirror_image_and_both_shifted_by_a_pixel() -> None:
    network = networks.build(TrainConfig.model_validate({"flip_at_test": True, "shift_at_test": True}), 2).eval()
    plain = networks.Network(network.body, "head", halves=network.halves).eval()
    images_NCHW = _batch(3, size_px=64).float()
    copies = []
    for turned_NCHW in (images_NCHW, images_NCHW.flip(3)):
        up_NCHW = torch.cat([turned_NCHW[:, :, 1:], turned_NCHW[:, :, -1:]], dim=2)
        down_NCHW = torch.cat([turned_NCHW[:, :, :1], turned_NCHW[:, :, :-1]], dim=2)
        up_left_NCHW = torch.cat([up_NCHW[..., 1:], up_NCHW[..., -1:]], dim=3)
        down_right_NCHW = torch.cat([down_NCHW[..., :1], down_NCHW[..., :-1]], dim=3)
        copies += [turned_NCHW, up_left_NCHW, down_right_NCHW]
    with torch.no_grad():
        expected = torch.stack([plain(copy_NCHW) for copy_NCHW in copies]).mean(dim=0)
        torch.testing.assert_close(network(images_NCHW), expected)


@pytest.mark.parametrize("size_px", [16, 32, 100, 224])
def test_the_fast_network_takes_every_image_size(size_px: int) -> None:
    network = networks.build(_config("cnn_fast", image_size_px=size_px), 2)
    networks.look_at_images(network, _batch(2, size_px).numpy())
    assert network(_batch(2, size_px)).isfinite().all()


def test_patches_of_training_images_are_uncorrelated_and_of_unit_variance_once_whitened() -> None:
    random = np.random.default_rng(0)
    images_NCHW = (120 + 30 * random.normal(size=(50, 3, 20, 20)).cumsum(axis=3)).clip(0, 255).astype(np.uint8)
    network = networks.build(_config("cnn_fast"), 2)
    networks.look_at_images(network, images_NCHW)
    with torch.no_grad():
        seen_NCHW = network.body.whitening(network.normalize(torch.from_numpy(images_NCHW)))
    correlation_CC = seen_NCHW[:, :12].transpose(0, 1).flatten(1).cov()
    torch.testing.assert_close(correlation_CC, torch.eye(12), atol=0.1, rtol=0)
    torch.testing.assert_close(seen_NCHW[:, :12], -seen_NCHW[:, 12:])


def test_grey_images_lack_most_components_and_blow_up_neither_values_nor_gradients() -> None:
    grey_NCHW = np.random.default_rng(0).integers(0, 256, (20, 1, 16, 16), np.uint8).repeat(3, axis=1)
    network = networks.build(_config("cnn_fast"), 2)
    networks.look_at_images(network, grey_NCHW)
    images_NCHW = torch.from_numpy(grey_NCHW)
    assert network.body.whitening(network.normalize(images_NCHW)).abs().max() < 10
    torch.nn.functional.cross_entropy(network(images_NCHW), torch.arange(20) % 2).backward()
    assert all(weight.grad.abs().max() < 1 for weight in network.parameters())
