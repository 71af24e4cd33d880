import re

import pytest

from devices.precision import choose_precision, fastest_policy, slow_at


@pytest.mark.parametrize(
    "capabilities, expected",
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 5), (7, 5)], "mixed_float16"),
        ([(8, 0)], "mixed_bfloat16"),
        ([(9, 0), (7, 0)], "mixed_float16"),
        ([(8, 6), (6, 1)], "float32"),
    ],
)
def test_auto_is_fast_on_all_gpus_and_float32_without_one(capabilities, expected):
    assert fastest_policy(capabilities) == expected
    assert not slow_at(expected, capabilities, set(), True)


@pytest.mark.parametrize(
    "policy, capabilities, flags, onednn, reason",
    [
        ("float32", [], set(), True, ""),
        ("mixed_float16", [], {"avx512_bf16"}, True, "processors are slow at float16"),
        ("mixed_float16", [(7, 0), (6, 1)], set(), True, "6.1 is slow at it"),
        ("mixed_bfloat16", [(7, 5)], set(), True, "7.5 is slow at it .8.0"),
        ("mixed_bfloat16", [(8, 0)], set(), False, ""),
        ("mixed_bfloat16", [], {"avx2", "amx_bf16"}, True, ""),
        ("mixed_bfloat16", [], {"avx2"}, True, "this processor"),
        ("mixed_bfloat16", [], {"amx_bf16"}, False, "without oneDNN"),
    ],
)
def test_slow_policies_are_explained(policy, capabilities, flags, onednn, reason):
    found = slow_at(policy, capabilities, flags, onednn)
    assert bool(found) == bool(reason) and re.search(reason, found)


def test_this_machine():
    assert choose_precision("float32") == ("float32", "")
    policy, warning = choose_precision("mixed_float16")
    assert policy == "mixed_float16" and "precision=auto" in warning
