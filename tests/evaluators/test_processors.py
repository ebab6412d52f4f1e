"""What the system says of the processor."""

import pytest

from evaluators import processors


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ("model name\t: Xeon\nflags\t\t: fpu avx512_vnni\n", True),
        ("Features\t: fp asimd asimddp\n", True),
        ("flags\t\t: fpu sse2 avx2\n\nflags\t\t: fpu sse2 avx2\n", False),
        ("processor : 0\n", None),
        (None, None),
    ],
)
def test_int8_products_are_read_off_the_flags(tmp_path, monkeypatch, facts, expected):
    if facts is not None:
        (tmp_path / "cpuinfo").write_text(facts)
    monkeypatch.setattr(processors, "_FACTS", tmp_path / "cpuinfo")
    assert processors.multiplies_int8() is expected
