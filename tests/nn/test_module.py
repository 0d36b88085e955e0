from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn


class Net(nn.Module):
    def __init__(self) -> None:
        self.first = nn.Linear(3, 4)
        self.blocks = [nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))]
        self.scale = nn.Parameter([1.0, 2.0])
        self.by_name = {"a": nn.Linear(1, 1, bias=False)}
        self.register_buffer("seen", tg.zeros(2))
        self.note = tg.ones(3)  # a plain Tensor: neither parameter nor buffer

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.blocks[1](self.blocks[0](self.first(x))) * self.scale


NAMES = [
    "scale", "first.weight", "first.bias", "blocks.0.weight", "blocks.0.bias", "blocks.1.0.weight", "blocks.1.0.bias",
    "by_name.a.weight",
]  # fmt: skip


def test_parameters_are_found_and_named_through_modules_lists_and_dicts() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert list(net.state_dict()) == ["scale", "seen", *NAMES[1:]]
    assert all(p.requires_grad for p in net.parameters())
    assert not any(value.requires_grad for value in net.state_dict().values())
    assert net(tg.ones((5, 3))).shape == (5, 2)


def test_a_shared_parameter_counts_once_and_a_frozen_one_stays() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net.steps[1].weight = net.steps[0].weight
    assert [n for n, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert set(net.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    net.steps[0].bias.requires_grad_(False)
    assert [n for n, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    net.zero_grad()  # passes over what is frozen
    net.steps[0].bias = None
    assert "0.bias" not in net.state_dict()


def test_a_module_that_is_held_twice_or_by_its_own_child_is_visited_once() -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    net.steps[0].parent = net
    assert list(net.modules()) == [net, net.steps[0]]
    assert len(list(net.parameters())) == 2


def test_train_and_eval_reach_every_module() -> None:
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    x = tg.ones((50, 3))
    np.testing.assert_array_equal(net(x).numpy(), net(x).numpy())
    net.train()
    assert all(m.training for m in net.modules())
    assert not np.array_equal(net(x).numpy(), net(x).numpy())


def test_zero_grad_forgets_all_gradients() -> None:
    net = Net()
    net(tg.ones((2, 3))).sum().backward()
    assert net.first.weight.grad is not None
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_a_module_is_frozen_as_a_whole() -> None:
    net = Net()
    assert [*net.children()] == [child for _, child in net.named_children()]
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())
    assert all(p.requires_grad for p in net.requires_grad_().parameters())


def test_to_changes_dtype_and_gradients_but_keeps_the_tensors(device: str) -> None:
    net = Net()
    net.register_buffer("count", tg.asarray([3]))
    before = list(net.parameters())
    net(tg.ones((2, 3))).sum().backward()
    assert net.to(dtype="float64") is net
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert {p.dtype.name for p in net.parameters()} == {"float64"}
    assert net.first.weight.grad is not None
    assert net.first.weight.grad.dtype == np.float64
    assert (net.seen.dtype.name, net.count.dtype.name) == ("float64", "int64")
    assert net(tg.ones((2, 3), dtype="float64")).dtype == np.float64
    assert {p.dtype.name for p in net.to(tg.float32).parameters()} == {"float32"}
    assert net.count.dtype == np.int64
    net.to("cpu")
    assert {value.device for value in net.state_dict().values()} == {"cpu"}
    net.to(device)
    assert {value.device for value in net.state_dict().values()} == {device}


def test_state_dicts_go_round_and_keep_dtype_and_objects() -> None:
    source, target = Net().to(dtype="float64"), Net()
    weight = target.first.weight
    target.load_state_dict(source.state_dict())
    assert target.first.weight is weight
    assert weight.dtype == np.float32
    for name, value in target.state_dict().items():
        np.testing.assert_allclose(value.numpy(), source.state_dict()[name].numpy(), rtol=1e-6)


def test_load_state_dict_takes_lists_and_arrays_of_any_library() -> None:
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": np.array([[1, 2]]), "bias": tg.tensor([3.0], dtype="float64").data})
    assert layer(tg.tensor([[1.0, 1.0]])).tolist() == [[6.0]]
    layer.load_state_dict({"weight": [[0.5, 0.5]], "bias": [0]})
    assert layer.weight.tolist() == [[0.5, 0.5]]


@pytest.mark.torch
def test_load_state_dict_takes_torch_tensors_and_parameters() -> None:
    torch = pytest.importorskip("torch")
    theirs, layer = torch.nn.Linear(2, 3), nn.Linear(2, 3)
    layer.load_state_dict(dict(theirs.named_parameters()))
    np.testing.assert_array_equal(layer.weight.numpy(), theirs.weight.detach().numpy())
    halves = {name: value.to(torch.bfloat16) for name, value in theirs.state_dict().items()}
    layer.load_state_dict(halves)
    np.testing.assert_array_equal(layer.bias.numpy(), halves["bias"].float().numpy())
    with pytest.raises(ValueError, match="complex"):
        layer.load_state_dict({"weight": theirs.weight.detach() * 1j, "bias": theirs.bias})


def test_load_state_dict_names_every_bad_entry_at_once_and_changes_nothing() -> None:
    net = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1), nn.Linear(1, 1, bias=False))
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    bad = {
        "0.weight": np.ones((1, 2)),
        "0.bias": np.ones(2),
        "1.bais": np.ones(1),
        "2.weight": np.array([["x"]]),
        "extra": np.ones(1),
        "1.bias": [[1.0], [1.0, 2.0]],
    }
    message = (
        r"Sequential can't load this state; unknown: 1\.bais, extra; missing: 1\.weight; "
        r"misshapen: 0\.bias is \(2,\), not \(1,\), 1\.bias is \(0,\), .*; no numbers: 1\.bias holds object, "
        r"2\.weight holds <U1"
    )
    with pytest.raises(ValueError, match=message):
        net.load_state_dict(bad)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_loading_between_forward_and_backward_is_refused() -> None:
    layer = nn.Linear(2, 1)
    loss = (layer(tg.ones((1, 2), dtype="float32").requires_grad_()) ** 2).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(tg.GraphError, match="written in place"):
        loss.backward()


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"Module has no forward\(\)"):
        nn.Module()(1)


def test_repr_nests_as_in_torch() -> None:
    inner = nn.Sequential(nn.Dropout(0.1), nn.LSTM(3, 4, num_layers=2))
    assert repr(nn.Sequential(nn.Linear(2, 3, bias=False), inner)) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): Dropout(p=0.1)\n"
        "    (1): LSTM(3, 4, num_layers=2)\n"
        "  )\n"
        ")"
    )


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_compute_the_same_and_share_nothing_but_what_was_shared(copied) -> None:
    net = nn.LSTM(2, 3)
    twin = copied(net)
    x = tg.ones((4, 1, 2))
    np.testing.assert_array_equal(twin(x)[0].numpy(), net(x)[0].numpy())
    twin.load_state_dict({name: np.zeros(value.shape) for name, value in twin.state_dict().items()})
    assert not twin(x)[0].numpy().any()
    assert net(x)[0].numpy().any()


def test_a_parameter_is_a_copy_and_must_be_floating() -> None:
    values = np.ones(2)
    parameter = nn.Parameter(values)
    values[0] = 5.0
    assert parameter.tolist() == [1.0, 1.0]
    with pytest.raises(TypeError, match="floating"):
        nn.Parameter([1, 2])


def test_a_path_is_no_state_to_load() -> None:
    with pytest.raises(TypeError, match="load_state_dict takes the arrays by name, not a str"):
        nn.Linear(1, 1).load_state_dict("model.pt")  # type: ignore[arg-type]


def test_loading_what_fits_leaves_the_rest() -> None:
    net = Net()
    before = net.first.weight.tolist()
    left = net.load_state_dict({"scale": [3.0, 4.0], "head.weight": [1.0]}, strict=False)
    assert left.unexpected_keys == ["head.weight"]
    assert left.missing_keys == [name for name in net.state_dict() if name != "scale"]
    assert net.load_state_dict(net.state_dict()) == ([], [])
    assert net.scale.tolist() == [3, 4]
    assert net.first.weight.tolist() == before
    with pytest.raises(ValueError, match=r"Net can't load this state; misshapen: scale is \(1,\), not \(2,\)$"):
        net.load_state_dict({"scale": [3.0], "head.weight": [1.0]}, strict=False)


def test_modules_are_found_in_lists_of_lists_and_a_list_that_holds_itself_ends() -> None:
    net = nn.Module()
    net.grid = [[nn.Linear(1, 1, bias=False)], {"a": (nn.Linear(1, 1, bias=False),)}]
    net.grid.append(net.grid)
    assert [name for name, _ in net.named_parameters()] == ["grid.0.0.weight", "grid.1.a.0.weight"]
