"""Reading and writing brackets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trees
from tests.trees import strategies
from trees import Tree, TreeError, parse, parse_all


@given(st.lists(strategies.trees, max_size=4), st.sampled_from([" ", "\n", "\r\n", "\t", ""]))
def test_text_gives_the_trees_back(some: list[Tree], separator: str) -> None:
    assert parse_all(separator.join(map(str, some))) == some


@given(some=st.lists(strategies.trees, max_size=4))
def test_a_file_gives_the_trees_back(tmp_path_factory: pytest.TempPathFactory, some: list[Tree]) -> None:
    path = tmp_path_factory.mktemp("trees") / "some.txt"
    trees.write(path, some)
    assert trees.read(path) == some
    assert path.read_bytes().count(b"\n") == len(some)


@pytest.mark.parametrize(
    "text",
    [
        "(3 (2 It) (4 (2 's) (3 good)))",
        "( (S (NP-SBJ (-NONE- *T*-1)) (VP (VBZ is) (X))))",
        "(S (NP the/DT cat/NN) sat/VBD (NP (DT the) mat))",
        "( ( ( [MAX 2) 9) ])",
        "(A (B (C ( c))))",
        "( a)",
        "(A)",
        "()",
        "(2 8\u00a01\\/2)",
        "(2 -LRB-)",
        "(03 3)",
    ],
)
def test_one_line_prints_as_it_was_read(text: str) -> None:
    assert str(parse(text)) == text


def test_a_tree_over_several_lines_with_an_empty_root_label() -> None:
    tree = parse("( (S\r\n    (NP (DT the)\n\t(NN cat))\n    (VP (VBD sat) )\n    (. .)) )\n")
    assert (tree.label, len(tree.children)) == ("", 1)
    assert tree.children[0].label == "S"
    assert tree.words() == ["the", "cat", "sat", "."]
    assert str(tree) == "( (S (NP (DT the) (NN cat)) (VP (VBD sat)) (. .)))"


def test_one_word_belongs_to_its_node_and_several_are_leaves_without_label() -> None:
    assert parse("(NP cat)") == Tree("NP", "cat")
    assert parse("(NP the cat)") == Tree("NP", children=[Tree("", "the"), Tree("", "cat")])
    assert parse("(NP ( cat))") == Tree("NP", children=[Tree("", "cat")])
    assert parse("( [MAX 4 )") == Tree("", children=[Tree("", "[MAX"), Tree("", "4")])


def test_only_space_tab_cr_and_lf_separate() -> None:
    word = "a\u00a0b\x0bc\x85d\u2028e\u3000f"
    assert parse(f"(2 {word})").words() == [word]


def test_escapes_stay_until_unescaped() -> None:
    assert parse(r"(2 -LRB- and\/or \*\* -RCB-)").words() == ["-LRB-", r"and\/or", r"\*\*", "-RCB-"]
    assert trees.unescape(r"-LRB-and\/or\*-RRB--LSB--RSB--LCB--RCB-") == "(and/or*)[]{}"
    assert Tree(2, trees.escape("(a b)")).word == "-LRB-a\u00a0b-RRB-"


@pytest.mark.parametrize(
    ("text", "line", "column", "found", "expected"),
    [
        ("", 1, 1, "the end of the text", "'(', the beginning of a tree"),
        (" \n ", 2, 2, "the end of the text", "'(', the beginning of a tree"),
        ("(2 a)\n  (3 b)", 2, 3, "another tree", "the end (parse_all reads many)"),
        ("\n 3 a)", 2, 2, "'3'", "'(', the beginning of a tree"),
        ("(2 a)\n(2 b))", 2, 6, "')'", "'(', the beginning of a tree"),
        (
            "(2 a)\n (2 (2 a) (2 b\n(2 c)\n",
            3,
            6,
            "the end of the text",
            "2 more ')' for the tree that begins at line 2, column 2",
        ),
    ],
)
def test_an_error_says_where_what_was_found_and_expected(
    text: str, line: int, column: int, found: str, expected: str
) -> None:
    with pytest.raises(TreeError) as caught:
        parse(text)
    error = caught.value
    assert (error.line, error.column, error.found, error.expected) == (line, column, found, expected)
    assert str(error) == f"line {line}, column {column}: found {found}, expected {expected}"
    assert error.file is None


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("(2 a)\n(2 그) oops\n", "utf-8")
    with pytest.raises(TreeError) as caught:
        trees.read(path)
    assert (caught.value.file, caught.value.line, caught.value.column) == (str(path), 2, 7)
    assert str(caught.value) == f"{path}, line 2, column 7: found 'oops', expected '(', the beginning of a tree"


@pytest.mark.parametrize(("leaf", "column"), [("(2 )", 12), ("()", 10), ("(2( ))", 13)])
def test_a_leaf_without_a_word_is_refused_where_words_are_needed(leaf: str, column: int, tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(f"(2 a)\n(3 (2 a){leaf})\n")
    assert trees.read(path)[1].words() == ["a"]
    node = {"(2 )": "(2)"}.get(leaf, "()")
    with pytest.raises(TreeError) as caught:
        trees.read(path, has_words=True)
    expected = f"found ')', expected a word or a tree in the node {node!r}"
    assert str(caught.value) == f"{path}, line 2, column {column}: {expected}"


def test_a_byte_that_is_no_utf_8_is_located(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("(2 a)\n(2 그caf\xe9)\n".encode().replace("\xe9".encode(), b"\xe9"))
    with pytest.raises(TreeError, match="line 2, column 8: found the byte 0xe9, expected text in UTF-8"):
        trees.read(path)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "bom.txt"
    path.write_bytes(b"\xef\xbb\xbf(2 a)\r\n")
    assert trees.read(path) == [Tree(2, "a")]


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        trees.read(tmp_path / "nowhere.txt")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    def failing() -> Iterator[Tree]:
        yield Tree(3, "new")
        raise RuntimeError("disk full")

    path = tmp_path / "some.txt"
    trees.write(str(path), [Tree(2, "old")])
    with pytest.raises(RuntimeError, match="disk full"):
        trees.write(path, failing())
    assert trees.read(path) == [Tree(2, "old")]
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_of_many_trees_are_utf_8() -> None:
    assert [tree.words() for tree in parse_all("(1 가)\n(0 b)".encode())] == [["가"], ["b"]]
    with pytest.raises(TreeError, match="standard input, line 2, column 4: found the byte 0xff, expected text in"):
        parse_all(b"(1 a)\n(0 \xff)", "standard input")


def test_bytes_are_no_text() -> None:
    with pytest.raises(TypeError, match=r"parse takes the text of a tree, not bytes; trees\.read\(path\) reads a file"):
        trees.parse(b"(1 a)")  # type: ignore[arg-type]
