from s2mirror.safe import needed_folders


def test_a_safe_has_its_root_folders_even_when_they_are_empty() -> None:
    assert needed_folders(["MTD_MSIL1C.xml"]) == {"AUX_DATA", "HTML", "rep_info"}


def test_each_granule_has_its_folders_even_when_they_are_empty() -> None:
    found = needed_folders(["GRANULE/one/MTD_TL.xml", "GRANULE/two/IMG_DATA/B02.jp2"])
    inner = {
        f"GRANULE/{granule}/{name}"
        for granule in ("one", "two")
        for name in ("AUX_DATA", "IMG_DATA", "QI_DATA")
    }
    assert found == inner | {"AUX_DATA", "HTML", "rep_info"}


def test_a_file_that_bears_a_folders_name_makes_no_granule() -> None:
    assert needed_folders(["GRANULE"]) == {"AUX_DATA", "HTML", "rep_info"}
