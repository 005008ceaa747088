"""Unicode's two forms of a name are one name."""

from visiontasks.class_names import missing_names, normalized, same_names

NFC, NFD = "br\u00fbl\u00e9e", "bru\u0302le\u0301e"


def test_both_forms_are_one_name() -> None:
    assert NFC != NFD
    assert normalized(NFD) == normalized(NFC) == NFC
    assert same_names(["a", NFC], ["a", NFD])
    assert not same_names(["a", NFC], [NFC, "a"])
    assert missing_names([NFD], [NFC, "a"]) == ["a"]


def test_a_name_that_is_no_utf8_stays() -> None:
    assert normalized("\udcff") == "\udcff"
